"""JSON Lines: one object a line, flushed at each, so that whoever stops us finds whole lines only.

{"sensor": "imu", "start_ns": 0, "stop_ns": 3000000000, "embedding": [...], "labels": {"a person walking": 0.93},
 "quality": {"coverage": 1.0, "gap_ms": 0.0, "saturated": 0.0}, "latency_ms": 1.6,
 "drift": {"p": 0.4, "drifted": false}}                  from the first whole block on, where the bundle has a reference
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from functools import cache
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TextIO

from edgebind import atomic
from edgebind.closing import Closing
from edgebind.errors import StorageError
from edgebind.signals import Embedding, Floats


class JsonLinesSink(Closing):
    """Writes a stream of text that stays its owner's: standard output, for one."""

    def __init__(self, stream: TextIO, *, embedding: bool = True) -> None:
        """Write to `stream`; without `embedding` the vectors are left out."""
        self._stream = stream
        self._embedding = embedding

    def write(self, embedding: Embedding) -> None:
        self._stream.write(to_json(embedding, vector=self._embedding))
        self._stream.flush()


class JsonLinesFileSink(Closing):
    """Writes a file anew, alone."""

    def __init__(self, path: Path, *, embedding: bool = True) -> None:
        """Write to `path`; without `embedding` the vectors are left out.

        Raises
        ------
        StorageError: the file cannot be written, or somebody else writes it.
        """
        self.path = path
        self._embedding = embedding
        self._has_line = False
        try:
            self._is_ours_to_remove = not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            # Opened to learn that it can be written, before the work; an older file is emptied by the first line only.
            # Unbuffered: one line is one call to the system, which a Ctrl-C does not split.
            self._stream: FileIO = open(path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _storage_error(error, path) from error
        self._is_ordinary = stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode)
        # Two that write one file would empty it for each other, and cut each other's lines.
        if self._is_ordinary and not atomic.hold(self._stream.fileno(), wait=False):
            self._stream.close()
            raise StorageError("somebody else writes it", where=path, remedy="choose another place")

    def write(self, embedding: Embedding) -> None:
        line = to_json(embedding, vector=self._embedding).encode("ascii")
        if self._stream.closed:
            raise StorageError("already closed", where=self.path)
        try:
            if self._is_ordinary and not self._has_line:
                self._stream.truncate(0)
            begun = os.fstat(self._stream.fileno()).st_size
            self._write_whole(line, begun)
        except OSError as error:
            raise _storage_error(error, self.path) from error
        self._has_line, self._is_ours_to_remove = True, False

    def _write_whole(self, line: bytes, begun: int) -> None:
        try:
            written = self._stream.write(line)
            while written < len(line):
                written += self._stream.write(line[written:])
        except OSError:
            if self._is_ordinary:
                with contextlib.suppress(OSError):
                    self._stream.truncate(begun)  # a full disk took half a line
            raise

    def close(self) -> None:
        self._stream.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._is_ours_to_remove:  # a fault before the first line leaves no empty file behind
            self.path.unlink(missing_ok=True)
        self.close()


def to_json(embedding: Embedding, *, vector: bool = True) -> str:
    """One line, with its line feed; floats of the vector keep all digits that float32 has."""
    before = (
        f'{{"sensor": {json.dumps(embedding.sensor)}, "start_ns": {embedding.start_ns}, "stop_ns": {embedding.stop_ns}'
    )
    after = {
        "labels": {prompt: round(share, 6) for prompt, share in embedding.labels.items()},
        "quality": embedding.quality.to_dict(),
        "latency_ms": round(embedding.latency_ms, 3),
    } | ({"drift": embedding.drift.to_dict()} if embedding.drift is not None else {})
    middle = f', "embedding": {_floats(embedding.vector)}' if vector else ""
    return f"{before}{middle}, {json.dumps(after)[1:]}\n"


def _floats(vector: Floats) -> str:
    # A third of the time of json.dumps, which would print each float32 with the 17 digits of a float64.
    return _format(len(vector)) % tuple(vector.tolist())


@cache
def _format(length: int) -> str:
    return "[" + ", ".join(["%.9g"] * length) + "]"


def _storage_error(error: OSError, path: Path) -> StorageError:
    return StorageError(
        f"cannot be written: {error.strerror or error}", where=path, remedy="choose another place or free some space"
    )
