"""File names that are no UTF-8: a report says them, and what cannot open them says so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgebind
from edgebind import starter
from edgebind.calibration.windows import sets
from edgebind.errors import OptionError
from edgebind.export.road import Request, export
from tests.recordings import still

ODD = os.fsdecode(b"caf\xe9")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three walks of one sensor, one of which has an odd name."""
    folder = tmp_path / "walks"
    folder.mkdir()
    for number, name in enumerate(("a", "b", ODD)):
        samples = still(3000) + np.random.default_rng(number).normal(0, 0.3, (3000, 6)).astype(np.float32)
        np.savez(folder / f"{name}.npz", samples=samples, times=np.arange(3000) * 10_000_000)
    return folder


def test_a_set_with_an_odd_name_comes_back(recordings: Path, tmp_path: Path) -> None:
    from edgebind.cli import main

    assert main(["calibrate", "collect", str(recordings), "--modality", "imu", "--out", str(tmp_path / "set")]) == 0
    found = sets.read(tmp_path / "set")
    assert {Path(member.path).stem for member in found.recordings} == {"a", "b", ODD}
    assert len(found.digest) == 64


def test_an_export_on_an_odd_name_is_written(recordings: Path, tmp_path: Path) -> None:
    (made,) = export(Request("fp16", tmp_path / "out", modalities=("imu",), calibration=(recordings,)))
    assert (made.folder / "report.json").is_file()


def test_a_bundle_of_an_odd_name_is_refused_in_words(tmp_path: Path) -> None:
    shutil.copytree(starter.folder("imu", "fp32"), tmp_path / ODD)
    with pytest.raises(OptionError, match=r"a name that is not UTF-8.*rename it"), edgebind.load(tmp_path / ODD) as odd:
        odd.embed(still(200).T[None])
