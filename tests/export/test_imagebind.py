"""ImageBind's IMU tower at full size, weights by the recipe beside the parity files, real recordings of a robot."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgebind
from edgebind.export.road import Request, export

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]


@pytest.fixture(scope="module")
def checkpoint_file(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgebind.models import checkpoint, imagebind

    spec = importlib.util.spec_from_file_location("recipe", shared / "parity" / "recipe.py")
    assert spec is not None and spec.loader is not None
    recipe: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    tower = imagebind.build_tower("imu").eval()
    named = tower.state_dict()
    for key, value in named.items():
        weights = recipe.weights(imagebind.reference_key("imu", key), tuple(value.shape))
        value.copy_(torch.from_numpy(np.asarray(weights)))
    path = tmp_path_factory.mktemp("imagebind") / "imu.safetensors"
    checkpoint.save_towers(path, {"imu": tower})
    return path


def _first_minute(shared: Path, terrain: str, folder: Path) -> Path:
    """Enough windows to calibrate or to judge, and few, since each costs this tower five billion products many times over."""
    with gzip.open(shared / "data" / "imu_borealtc" / terrain / "imu_00.csv.gz", "rt") as stream:
        lines = list(itertools.islice(stream, 6001))
    target = folder / f"{terrain}.csv"
    target.write_text("".join(lines))
    return target


def test_int8_of_the_whole_tower(
    checkpoint_file: Path, shared: Path, tmp_path: Path, compile_rtx: Callable[[Path], int]
) -> None:
    recordings = tuple(_first_minute(shared, terrain, tmp_path) for terrain in ("ASPHALT", "ICE"))
    (made,) = export(Request("int8", tmp_path / "out", checkpoint_file, ("imu",), recordings))
    assert made.quantised is not None
    assert made.quantised.least.cosine_mean > 0.999
    assert made.quantised.mac_share > 0.9
    assert "CC-BY-NC" in made.description.provenance["licence"]
    assert made.description.space == "imagebind"
    assert compile_rtx(made.folder / "encoder.onnx") > 0
    with edgebind.load(made.folder) as bundle:
        vectors = bundle.embed(np.zeros((1, 6, 2000), np.float32))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
