"""A scratch folder on the disk that the bundle will lie on, gone whatever happens; after a `kill -9`, with the next export."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgebind import atomic
from edgebind.errors import StorageError

PREFIX = ".export."
LOCK = ".in-use"
"""Held by the export that works in the folder, and by nobody once that is killed."""


@contextlib.contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """A hidden folder below `out`; removed at the end, as is `out` if nothing came of it.

    It lies there and not in /tmp, so that a place that cannot be written is known before the long work, and a full disk
    means this disk.

    Raises
    ------
    StorageError: `out` cannot be made or written, or the disk is full.
    """
    made = _missing_folders(out)
    with atomic.storage_errors(out):
        try:
            atomic.make_folder(out)
            _sweep(out)
            scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=out))
            try:
                with _in_use(scratch):
                    yield scratch
            except StorageError as error:
                raise _as_seen_from(out, scratch, error) from error
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        finally:
            _remove_empty(made)


def _as_seen_from(out: Path, scratch: Path, error: StorageError) -> StorageError:
    """`error` without the name of a folder that nobody asked for and that is gone when it is read."""
    return error.at(out) if error.where is not None and Path(error.where).is_relative_to(scratch) else error


@contextlib.contextmanager
def _in_use(scratch: Path) -> Iterator[None]:
    with open(scratch / f"{LOCK}.new", "wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(stream.name).rename(scratch / LOCK)  # nobody sees it unlocked
        yield


def _sweep(out: Path) -> None:
    """Remove what killed exports have left: a tower can be gigabytes."""
    for folder in out.glob(f"{PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        with open(folder / LOCK, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by a running export, or not yet made
        return False
    return True


def _missing_folders(folder: Path) -> list[Path]:
    """Folders that would have to be made for `folder`, the innermost first."""
    return [part for part in (folder, *folder.parents) if not part.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not empty: a bundle was written
            return
