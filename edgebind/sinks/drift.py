"""Says in one line when a sensor stops looking like what its bundle was calibrated on, and when it does so again."""

from __future__ import annotations

from typing import TextIO

from edgebind.closing import Closing
from edgebind.signals import NANOSECONDS, Embedding
from edgebind.wording import CLEAR


class DriftSink(Closing):
    """Writes to a terminal or log beside the embeddings' own sink; silent while nothing changes."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`, which stays its owner's."""
        self._stream = stream
        self._is_drifted = False
        self._first: int | None = None

    def write(self, embedding: Embedding) -> None:
        self._first = embedding.start_ns if self._first is None else self._first
        drift = embedding.drift
        if drift is None or drift.is_drifted == self._is_drifted:
            return
        self._is_drifted = drift.is_drifted
        told = f"no longer looks like what its bundle was calibrated on: {drift.why} (p = {drift.p:.1g})"
        text = told if drift.is_drifted else "looks like what its bundle was calibrated on again"
        seconds = (embedding.stop_ns - self._first) / NANOSECONDS
        start = CLEAR if self._stream.isatty() else ""
        self._stream.write(f"{start}edgebind: at {seconds:.1f} s, this {embedding.sensor} sensor {text}\n")
        self._stream.flush()

    def close(self) -> None:
        pass
