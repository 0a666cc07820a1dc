"""The benchmark of ImageBind's towers: weights by a recipe become a checkpoint, and towers add up in one file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgebind.benchmarks import imagebind_int8
from edgebind.errors import OptionError

torch = pytest.importorskip("torch")


def test_a_recipe_fills_a_tower(tmp_path: Path, shared: Path) -> None:
    from edgebind.models import checkpoint

    imagebind_int8.from_recipe(shared / "parity" / "recipe.py", "imu", tmp_path / "imu.safetensors")
    tower = checkpoint.load_towers(tmp_path / "imu.safetensors", ["imu"])["imu"]
    # The recipe's page gives the first bytes of this tensor's sha256.
    weight = next(
        value
        for key, value in tower.state_dict().items()
        if key.endswith("head.3.weight") or value.shape == (1024, 512)
    )
    assert hashlib.sha256(np.ascontiguousarray(weight.numpy()).tobytes()).hexdigest().startswith("679c7e29fd22")


def test_towers_add_up(tmp_path: Path) -> None:
    out = tmp_path / "towers.json"
    out.write_text(json.dumps(imagebind_int8._merged(out, "imu", {"int8_mac_share": 0.9}, "recipe")))
    again = imagebind_int8._merged(out, "depth", {"int8_mac_share": 0.8}, "checkpoint")
    assert again["towers"] == {
        "imu": {"weights": "recipe", "int8_mac_share": 0.9},
        "depth": {"weights": "checkpoint", "int8_mac_share": 0.8},
    }


def test_a_recipe_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no recipe"):
        imagebind_int8.from_recipe(tmp_path / "absent.py", "imu", tmp_path / "out.safetensors")
