from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgebind import atomic
from edgebind.errors import StorageError
from edgebind.export.workspace import LOCK, PREFIX, workspace


def test_what_a_killed_export_has_left_goes_with_the_next(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / LOCK).touch()
    (left / "encoder.onnx").touch()
    with workspace(tmp_path) as scratch:
        assert list(tmp_path.iterdir()) == [scratch]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_running_export_stays(tmp_path: Path) -> None:
    young = tmp_path / f"{PREFIX}young"  # made this moment, and not yet locked
    young.mkdir()
    with workspace(tmp_path) as first:
        (first / "encoder.onnx").touch()
        with workspace(tmp_path) as second:
            assert first != second
            assert (first / "encoder.onnx").exists()
    assert list(tmp_path.iterdir()) == [young]


def test_a_full_disk_is_told_of_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError) as caught,
        workspace(tmp_path / "bundles") as scratch,
        atomic.storage_errors(scratch / "imu" / "encoder.onnx"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value).startswith(f"{tmp_path / 'bundles'}: the disk is full")
    assert list(tmp_path.iterdir()) == []
