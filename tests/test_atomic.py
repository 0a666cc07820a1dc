"""A reader sees all of a file or folder, or none of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from edgebind import atomic
from edgebind.errors import StorageError


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "bundle"
    with atomic.directory(target) as scratch:
        (scratch / "a").write_text("new")
        assert not target.exists()
    assert _names(tmp_path) == ["deep", "deep/bundle", "deep/bundle/a"]


@pytest.fixture(params=["one step", "two steps"])
def _steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems that can exchange two folders, and systems that cannot."""
    if request.param == "two steps":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)


@pytest.mark.usefixtures("_steps")
def test_directory_replaces_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    with atomic.directory(target) as scratch:
        (scratch / "new").write_text("new")
    assert _names(tmp_path) == ["bundle", "bundle/new"]


@pytest.mark.usefixtures("_steps")
def test_a_link_to_an_older_one_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "old").write_text("old")
    (tmp_path / "bundle").symlink_to("first")
    with atomic.directory(tmp_path / "bundle") as scratch:
        (scratch / "new").write_text("new")
    assert _names(tmp_path) == ["bundle", "bundle/new", "first", "first/old"]
    assert not (tmp_path / "bundle").is_symlink()


def test_there_is_no_instant_without_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    if not atomic._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system cannot exchange two folders in one step")

    def forbidden(*_: object) -> None:
        raise AssertionError("a rename leaves a moment with neither the old nor the new")

    monkeypatch.setattr(Path, "rename", forbidden)
    monkeypatch.setattr(Path, "replace", forbidden)
    (tmp_path / "one" / "old").write_text("old")
    with atomic.directory(tmp_path / "one") as scratch:
        (scratch / "new").write_text("new")
        number = scratch.stat().st_ino
    assert (tmp_path / "one").stat().st_ino == number
    assert _names(tmp_path) == ["one", "one/new", "other"]


def test_an_exchange_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError, match="absent"):
        if not atomic._exchange(tmp_path / "one", tmp_path / "absent"):
            pytest.skip("this system cannot exchange two folders in one step")


@pytest.mark.parametrize("accident", [KeyboardInterrupt, RuntimeError])
def test_directory_keeps_the_old_one_after_an_accident(tmp_path: Path, accident: type[BaseException]) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(accident), atomic.directory(target) as scratch:
        (scratch / "half").write_text("ha")
        raise accident
    assert _names(tmp_path) == ["bundle", "bundle/old"]


def test_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    with atomic.file(target) as scratch:
        scratch.write_text("first")
        assert scratch.suffix == ".npz"  # writers that add a missing suffix must find it there
    with pytest.raises(KeyboardInterrupt), atomic.file(target) as scratch:
        scratch.write_text("sec")
        raise KeyboardInterrupt
    assert _names(tmp_path) == ["out.npz"]
    assert target.read_text() == "first"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_trouble_with_the_disk_is_one_clear_line(tmp_path: Path, number: int) -> None:
    with pytest.raises(StorageError, match="nothing was written"), atomic.directory(tmp_path / "bundle"):
        raise OSError(number, "as the kernel says it")
    assert _names(tmp_path) == []


def test_a_full_device_is_one_clear_line(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="the disk is full"),
        atomic.file(tmp_path / "out"),
        open("/dev/full", "w") as full,
    ):
        full.write("x" * 100_000)
    assert _names(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(StorageError, match="the folder cannot be made"),
        atomic.file(tmp_path / "taken" / "out") as scratch,
    ):
        scratch.write_text("never")


def test_a_folder_is_no_file_to_replace(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no ordinary file"), atomic.file(tmp_path) as scratch:
        scratch.write_text("never")
    assert _names(tmp_path) == []


def test_trouble_with_a_file_that_is_read_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.directory(tmp_path / "bundle"):
        (tmp_path / "recording.csv").read_text()
    with (
        pytest.raises(StorageError, match="bundle: cannot be written"),
        atomic.directory(tmp_path / "bundle") as scratch,
    ):
        (scratch / "no folder" / "encoder.onnx").write_text("never")
    assert _names(tmp_path) == []


def test_json_is_written_whole_one_entry_a_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    atomic.write_json(path, {"unit": "m/s²", "values": [1, 2]})
    assert path.read_bytes() == '{\n "unit": "m/s²",\n "values": [\n  1,\n  2\n ]\n}\n'.encode()


def test_json_that_cannot_be_made_leaves_the_older_one(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "report.json", {"old": True})
    with pytest.raises(TypeError):
        atomic.write_json(tmp_path / "report.json", {"new": object()})
    assert _names(tmp_path) == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text()) == {"old": True}


def test_a_file_name_that_is_no_utf8_comes_back_from_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    atomic.write_json(tmp_path / "report.json", [name])
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == [name]


def test_a_copy_that_fills_the_disk_is_told_of_the_target(tmp_path: Path) -> None:
    """`shutil.copyfile` names its source then, which lies on another disk."""
    with (
        pytest.raises(StorageError, match=r"bundle: the disk is full") as raised,
        atomic.directory(tmp_path / "bundle") as scratch,
    ):
        (scratch / "half").write_text("")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/elsewhere/encoder.onnx", None, str(scratch / "half"))
    assert "elsewhere" not in str(raised.value)
    assert _names(tmp_path) == []


# --- before the work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["report.json", "new/folder/report.json", "folder"])
def test_a_place_that_can_be_written_is_left_as_it_was(place: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "report.json").write_text("old")
    atomic.require_place(tmp_path / place)
    assert _names(tmp_path) == ["folder", "report.json"]
    assert (tmp_path / "report.json").read_text() == "old"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("file/report.json", "a part of the path is a file"),
        ("file/new/report.json", "a part of the path is a file"),
        ("pipe", "is no ordinary file"),
        ("x" * 300, "File name too long"),
        ("x" * 250, "File name too long"),
    ],
    ids=lambda text: text[:20],
)
def test_a_place_that_cannot_be_written_is_known_at_once(place: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match=line):
        atomic.require_place(tmp_path / place)
    assert _names(tmp_path) == ["file", "pipe"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_disk_that_refuses_is_known_at_once(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(StorageError, match="nothing was written"):
        atomic.require_place(tmp_path / "report.json")


def test_one_process_after_the_other_has_its_turn(tmp_path: Path) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    try:
        with atomic.turn(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(other)
    assert list(tmp_path.iterdir()) == []
