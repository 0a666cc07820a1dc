"""Text: one prompt a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgebind.closing import Closing
from edgebind.errors import RecordingError
from edgebind.signals import NANOSECONDS, Chunk
from edgebind.sources import lines

SUFFIXES = (".txt", ".txt.gz")


class PromptSource(Closing):
    """The prompts in a text file; the one in line k, counted from 0, is at k / rate. Empty lines are left out."""

    modality = "text"

    def __init__(self, path: Path, *, rate_hz: float) -> None:
        """Replay the lines of `path`, `rate_hz` a second."""
        self.path = path
        self.name = str(path)
        self._rate = rate_hz

    def __iter__(self) -> Iterator[Chunk]:
        found = 0
        with lines.opened(self.path) as stream:
            for place, line in enumerate(lines.bounded(stream, self.name)):
                if prompt := line.strip():
                    found += 1
                    yield Chunk(np.array([round(place * NANOSECONDS / self._rate)]), np.array([prompt]), self.name)
        if not found:
            raise RecordingError("no prompts", where=self.path, wanted="one a line", got="no line with words")


def is_text(path: Path) -> bool:
    """Whether the name is that of a file of prompts."""
    return path.name.lower().endswith(SUFFIXES)
