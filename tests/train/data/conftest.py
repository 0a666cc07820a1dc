"""The small aerial folder, and the shipped recipe on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebind.train import recipe
from tests.train.data import aerial


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    table = aerial.written()
    for entry in table["images"]:
        # A ramp of each picture's own slope: no two cuts are equal, and no cut is flat.
        ramp = np.linspace(20, 100 + 10 * entry["id"], 500 * 420).reshape(420, 500)
        Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "images" / entry["filename"])
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    return tmp_path


@pytest.fixture
def plan(folder: Path) -> aerial.Plan:
    shipped = recipe.read(aerial.SHIPPED)
    node, edge = shipped.nodes["thermal"], shipped.edges[0]
    data = replace(edge.data[0], path=str(folder), folds=tuple((date,) for date in aerial.DATES))
    return aerial.Plan(replace(node, augment={**node.augment, "drawings": 3}), replace(edge, data=(data,)))
