"""A tower comes back from its file with the labels it was bound to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import CheckpointError
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from edgebind.models import students, tower_file  # noqa: E402

WINDOW = WindowSpec(100.0, 2.0, 1.0, ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s²",) * 3 + ("rad/s",) * 3)
INFO = tower_file.TowerInfo("ours", "imu", "imu-s", 8, 14.0, WINDOW, {"kind": "imu"})


def test_labels_keep_their_scale_and_get_the_towers_space(tmp_path: Path) -> None:
    bank = LabelBank(("a", "b"), np.eye(2, 8, dtype=np.float32), logit_scale=3.0)
    tower = students.build("imu-s", dim=8).eval()
    tower_file.write(tmp_path / "tower.safetensors", tower, INFO, bank)
    again, info, found = tower_file.read(tmp_path / "tower.safetensors")
    assert info == INFO
    assert (found.prompts, found.space, found.logit_scale) == (("a", "b"), "ours", 3.0)
    np.testing.assert_array_equal(found.embeddings, bank.embeddings)
    example = torch.randn(1, 6, 200)
    assert torch.equal(again(example), tower(example))


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    header = (
        '{"space": "ours", "modality": "imu", "student": "imu-s", "dim": 8, "logit_scale": 14.0, "preprocess": {}, '
    )
    header += (
        '"window": {"rate_hz": 1, "seconds": 1, "hop_seconds": 1, "channels": [], "units": []}, "prompts": ["a", "b"]}'
    )
    path = tmp_path / "tower.safetensors"
    save_file({tower_file.BANK: torch.eye(1, 8)}, path, {tower_file.HEADER: header})
    with pytest.raises(CheckpointError, match="not a tower made by edgebind bind"):
        tower_file.read(path)
