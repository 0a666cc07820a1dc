"""Text files, plain or gzipped, line by line and never more at once than a sensible file holds."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edgebind.errors import RecordingError

LONGEST = 1 << 20
"""Characters of a line that is still believed: a packed file of a megabyte may hold one of gigabytes."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """`path` as text, unpacked if it is gzipped.

    Raises
    ------
    RecordingError: while the block reads: no text, a damaged gzip file, or one that cannot be read.
    """
    with (
        reading(str(path)),
        _binary(path) as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", newline=None) as stream,
    ):
        yield stream


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """What may go wrong while text is read, in one line.

    Raises
    ------
    RecordingError: no text, a damaged gzip file, or a file that cannot be read.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise RecordingError("is not text", where=path, wanted="UTF-8, plain or gzipped") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(f"gzip file is damaged or cut off: {error}", where=path) from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error


def _binary(path: Path) -> IO[bytes]:
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def bounded(stream: IO[str], name: str) -> Iterator[str]:
    """The lines of `stream`, with their ends, which are read by the piece.

    Raises
    ------
    RecordingError: a line without end.
    """
    number = 0
    while text := stream.readline(LONGEST):
        number += 1
        if len(text) == LONGEST:
            raise RecordingError(
                "the line has no end", where=f"{name}, line {number}", wanted=f"fewer than {LONGEST} characters"
            )
        yield text
