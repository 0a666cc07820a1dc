"""NPZ files, read without trusting them: no pickle is run, and every way to be damaged is one line."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgebind.errors import RecordingError
from edgebind.signals import Samples

_DAMAGE = (
    *(zipfile.BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError),  # the zip, and encrypted ones
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
    try:
        # Opened here: NumPy leaves a file open that turns out to be no archive.
        with open(path, "rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise RecordingError("is one array", where=path, wanted="an NPZ file with named arrays")
            with archive:
                return {name: archive[name] for name in names if name in archive}
    except _DAMAGE as error:
        raise RecordingError("is no NPZ file of plain arrays", where=path, wanted="arrays without objects") from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
