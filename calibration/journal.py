"""What a calibration and its search have found, one line each, so that one that is killed goes on where it was.

    {"key": "9f2c...", "found": {"ranges": ..., ...}}                                  the calibration
    {"key": "9f2c...", "times_ms": {"conv1": [0.041, 0.013], ...}}                     the processor's time, measured once
    {"key": "9f2c...", "float": ["head"], "comparison": {"cosine_mean": 0.9993, ...}}  one choice of layers

The key stands for the graph, the windows, the labels and all else that decides about the numbers. A line is on the disk when
it is noted. One that a power cut has halved is left out, and so is every line of another search, which may even run at the
same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import atomic, utf8
from edgebind.calibration.batches import Batch
from edgebind.calibration.gate import Comparison
from edgebind.errors import GateError

FORMAT = "edgebind-search/2"


class Journal:
    """Measurements of one search, in memory and, if it has a path, in a file."""

    def __init__(self, path: Path | None, key: str, layers: Sequence[str]) -> None:
        self._path = path
        self._key = key
        self.found: dict[str, Any] | None = None
        """The calibration that the measurements belong to, as `carry` was given it."""
        self._layers = frozenset(layers)
        self._comparisons: dict[frozenset[str], Comparison] = {}
        self.times: dict[str, list[float]] | None = None
        """What `edgebind.calibration.cost` has measured: {layer: [milliseconds in float, in INT8]}."""
        for line in self._lines():
            self._take(line)
        self.resumed = len(self._comparisons)
        """How many measurements were there already."""

    def carry(self, found: dict[str, Any]) -> None:
        """Keep a calibration, as JSON holds it.

        Raises
        ------
        StorageError: the disk is full or cannot be written.
        """
        self.found = found
        self._write({"found": found})

    def find(self, quantised: Collection[str]) -> Comparison | None:
        """What was measured with the layers `quantised` in INT8."""
        return self._comparisons.get(frozenset(quantised))

    def note(self, quantised: Collection[str], comparison: Comparison) -> None:
        """Keep a measurement.

        Raises
        ------
        StorageError: the disk is full or cannot be written.
        """
        chosen = frozenset(quantised)
        self._comparisons[chosen] = comparison
        # Choices are nearly all or nearly nothing: whichever is shorter.
        rest = self._layers - chosen
        which = {"int8": sorted(chosen)} if len(chosen) < len(rest) else {"float": sorted(rest)}
        self._write({**which, "comparison": comparison.to_exact()})

    def note_times(self, times: dict[str, list[float]]) -> None:
        """Keep the times of the layers, which would come out otherwise another time."""
        self.times = times
        self._write({"times_ms": times})

    @contextlib.contextmanager
    def kept_if_interrupted(self) -> Iterator[None]:
        """Removes the file when the block ends, in success or in a verdict; Ctrl-C and a kill leave it for another run."""
        try:
            yield
        except GateError:
            self._remove()
            raise
        self._remove()

    def _remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _lines(self) -> list[dict[str, Any]]:
        """Those of this search."""
        if self._path is None:
            return []
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return [line for line in map(_parsed, text.splitlines()) if line.get("key") == self._key]

    def _take(self, line: dict[str, Any]) -> None:
        if "found" in line:
            self.found = line["found"]
        if "times_ms" in line:
            self.times = line["times_ms"]
        if "comparison" in line:
            chosen = frozenset(line["int8"]) if "int8" in line else self._layers - frozenset(line["float"])
            self._comparisons[chosen] = Comparison(**line["comparison"])

    def _write(self, line: dict[str, Any]) -> None:
        if self._path is None:
            return
        # A halved line in front of this one ends here, and is left out; an empty one costs nothing.
        data = f"\n{json.dumps({'key': self._key, **line})}\n".encode()
        # One write, behind whatever another search has written meanwhile: so neither cuts the other's lines.
        with atomic.storage_errors(self._path), open(self._path, "ab", buffering=len(data) + 1) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def key(graph: str, batches: Sequence[Batch], labels: NDArray[np.float32], given: str = "") -> str:
    """What a search depends on, besides the choice of layers.

    Parameters
    ----------
    graph: its fingerprint.
    given: whatever else decides about the calibration.
    """
    digest = hashlib.sha256(utf8.encoded(f"{FORMAT} {graph} {given}"))
    for batch in batches:
        digest.update(batch.inputs.tobytes())
    digest.update(labels.tobytes())
    return digest.hexdigest()
