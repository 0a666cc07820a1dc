"""A scratch folder on the disk that the bundle will lie on, gone whatever happens."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgebind import atomic


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
            scratch = Path(tempfile.mkdtemp(prefix=".export.", dir=out))
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        finally:
            _remove_empty(made)


def _missing_folders(folder: Path) -> list[Path]:
    """Folders that would have to be made for `folder`, the innermost first."""
    return [part for part in (folder, *folder.parents) if not part.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not empty: a bundle was written
            return
