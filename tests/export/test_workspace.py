from __future__ import annotations

from pathlib import Path

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
