"""NPZ files, read without trusting them: no pickle is run, and every way to be damaged is one line."""

from __future__ import annotations

import contextlib
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from edgebind.errors import RecordingError
from edgebind.signals import Samples

_DAMAGE = (
    *(zipfile.BadZipFile, EOFError, KeyError),  # the zip itself
    *(NotImplementedError, RuntimeError),  # zipfile's words for a compression it does not know, and for a password
    zlib.error,
    *(ValueError, TypeError, SyntaxError, tokenize.TokenError, OverflowError),  # an array's header, which is Python
    MemoryError,
)
"""What zipfile, zlib and NumPy raise for damaged files, layer by layer."""


def read(path: Path, names: Sequence[str]) -> dict[str, Samples]:
    """Those of the arrays `names` that the NPZ file at `path` holds.

    Raises
    ------
    RecordingError: it cannot be read, is no NPZ file, is damaged, or one of `names` holds Python objects.
    """
    # Opened here: NumPy leaves a file open that turns out to be no archive.
    with _refused(path), open(path, "rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise RecordingError("is one array", where=path, wanted="an NPZ file with named arrays")
        with archive:
            return {name: archive[name] for name in names if name in archive}


class Rows:
    """One array of an open NPZ file, of which some rows are in memory at a time."""

    def __init__(self, member: IO[bytes], path: Path) -> None:
        self._member, self._path = member, path
        version = np.lib.format.read_magic(member)
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        self.shape, self._is_fortran, self.dtype = headers[version](member)
        if self.dtype.hasobject:
            raise ValueError("objects")

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __iter__(self) -> Iterator[Samples]:
        """Its rows in turn.

        Raises
        ------
        RecordingError: the file is damaged from here on.
        """
        if self._is_fortran and self.ndim > 1:  # column by column, so that no row is complete before the last
            yield from self._take(self.shape[::-1]).T
            return
        for _ in range(len(self)):
            yield self._take(self.shape[1:])
        with _refused(self._path):
            self._member.read(1)  # the end, where the sum over all bytes is checked

    def _take(self, shape: tuple[int, ...]) -> Samples:
        count = math.prod(shape) * self.dtype.itemsize
        with _refused(self._path):
            data = self._member.read(count)
            if len(data) < count:
                raise EOFError
            return np.frombuffer(data, self.dtype).reshape(shape)


@contextlib.contextmanager
def rows(path: Path, name: str) -> Iterator[Rows | None]:
    """The array `name` of the NPZ file at `path`, read while it is iterated; None if there is none.

    Raises
    ------
    RecordingError: it cannot be read, is no NPZ file, is damaged, or holds Python objects.
    """
    with contextlib.ExitStack() as stack:
        with _refused(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            is_there = f"{name}.npy" in archive.namelist()
            found = Rows(stack.enter_context(archive.open(f"{name}.npy")), path) if is_there else None
        yield found


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise RecordingError("is no NPZ file of plain arrays", where=path, wanted="arrays without objects") from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
