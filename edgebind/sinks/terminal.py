"""A live line in a terminal: what the sensor sees now, rewritten in place."""

from __future__ import annotations

import shutil
from typing import TextIO

from edgebind.closing import Closing
from edgebind.signals import NANOSECONDS, Embedding
from edgebind.wording import CLEAR

TOP = 3
"""Prompts that are shown."""
BAR = 10
"""Characters of the first one's bar."""


class TerminalSink(Closing):
    """Shows the latest embedding in one line."""

    def __init__(self, stream: TextIO) -> None:
        """Write to the terminal `stream`, which stays its owner's."""
        self._stream = stream
        self._first: int | None = None
        self._is_open = True
        self._full, self._empty = _blocks(stream)

    def write(self, embedding: Embedding) -> None:
        if self._first is None:
            self._first = embedding.start_ns
        text = self._line(embedding, (embedding.stop_ns - self._first) / NANOSECONDS)
        width = shutil.get_terminal_size((100, 24)).columns
        self._stream.write(CLEAR + text[: width - 1])  # a full line would wrap, and could not be rewritten
        self._stream.flush()

    def close(self) -> None:
        if self._is_open and self._first is not None:
            self._stream.write("\n")
            self._stream.flush()
        self._is_open = False

    def _line(self, embedding: Embedding, seconds: float) -> str:
        quality = embedding.quality
        parts = [f"{seconds:7.1f} s", self._labels(embedding)]
        if quality.coverage < 1:
            parts.append(f"coverage {quality.coverage:.0%}")
        if quality.saturated > 0:
            parts.append(f"saturated {quality.saturated:.0%}")
        parts.append(f"{embedding.latency_ms:.1f} ms")
        if embedding.drift is not None and embedding.drift.is_drifted:
            parts.append("DRIFTED")
        return "  ".join(parts)

    def _labels(self, embedding: Embedding) -> str:
        if not embedding.labels:
            return f"{len(embedding.vector)} dimensions, no labels"
        best = sorted(embedding.labels.items(), key=lambda item: -item[1])[:TOP]
        share = best[0][1]
        filled = round(share * BAR)
        bar = self._full * filled + self._empty * (BAR - filled)
        rest = "".join(f", {prompt} {share:.0%}" for prompt, share in best[1:])
        return f"{bar} {share:4.0%} {best[0][0]}{rest}"


def _blocks(stream: TextIO) -> tuple[str, str]:
    """What bars are made of, as far as the terminal's encoding can print it."""
    try:
        "█░".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#", "."
    return "█", "░"
