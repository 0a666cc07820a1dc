"""The benchmark of ImageBind's towers: weights by a recipe become a checkpoint, and towers add up in one file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebind import cli
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


def test_too_few_pictures_are_told_before_a_tower_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    for place in range(24):  # 14 of them would calibrate, 8 judge
        Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / f"{place}.png")
    made: list[object] = []
    monkeypatch.setattr(imagebind_int8, "from_recipe", lambda *given: made.append(given))
    arguments = ["--recipe", "recipe.py", "--modality", "vision", "--calibration", str(tmp_path / "pictures")]
    monkeypatch.setattr("sys.argv", ["imagebind_int8", *arguments, "--out", str(tmp_path / "out.json")])
    assert cli.main(command=imagebind_int8.command, name="imagebind_int8") == 2
    assert "too few windows to calibrate INT8 on (wanted at least 16, got 14)" in capsys.readouterr().err
    assert made == []
    assert not (tmp_path / "out.json").exists()
