"""Videos of a camera, frame by frame at their own times, through PyAV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgebind.closing import Closing
from edgebind.errors import RecordingError
from edgebind.preprocess import videos
from edgebind.signals import NANOSECONDS, Chunk

MODALITIES = ("thermal", "vision")
"""Whose frames are grey levels or colours; metres do not survive a video."""


class VideoSource(Closing):
    """The frames of a video file; the first is at 0."""

    def __init__(self, path: Path, modality: str, *, rate_hz: float | None = None) -> None:
        """Replay `path`: every frame, or no more than `rate_hz` a second."""
        self.path = path
        self.name = str(path)
        self.modality = modality
        self._step = Fraction(0) if rate_hz is None else 1 / Fraction(rate_hz)

    def __iter__(self) -> Iterator[Chunk]:
        latest, due = -1, Fraction(0)
        for time, frame in videos.each_frame(self.path):
            stamp = round(time * NANOSECONDS)
            if time < due or stamp <= latest:
                continue
            if self._step:
                due = (math.floor(time / self._step) + 1) * self._step
            latest = stamp
            yield Chunk(np.array([stamp]), frame[None], self.name)
        if latest < 0:
            raise RecordingError("a video without frames", where=self.path)


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in videos.SUFFIXES
