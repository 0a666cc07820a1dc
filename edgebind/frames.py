"""Frames of a camera, and prompts, which are frames without axes -> windows: each is one, or is too soon after another."""

from __future__ import annotations

from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.quality import saturation_of_frame
from edgebind.signals import NANOSECONDS, Chunk, Quality, Window
from edgebind.window import Counters

TOO_SOON = 0.75
"""Share of a hop that must have passed before another frame is taken, since cameras are not punctual."""


class FrameWindower:
    """Makes each frame of a camera a window [t, t + 1 / rate); frames closer than a hop are dropped and counted."""

    def __init__(self, spec: WindowSpec, *, every_frame: bool = False, axes: int = 2) -> None:
        """Windows of `spec`.

        Parameters
        ----------
        every_frame: keep frames that come faster than the hop.
        axes: a frame's at least: 2 of a picture, 0 of a prompt.
        """
        self.spec = spec
        self._axes = axes
        self.counters = Counters()
        self._period = round(NANOSECONDS / spec.rate_hz)
        self._pause = 0 if every_frame else round(TOO_SOON * spec.hop_seconds * NANOSECONDS)
        self._last: int | None = None
        self._taken: int | None = None

    def push(self, chunk: Chunk) -> list[Window]:
        """Take some frames; returns their windows.

        Raises
        ------
        RecordingError: no frames, or time going backwards.
        """
        if chunk.samples.ndim <= self._axes:
            raise RecordingError(
                "no frames", where=chunk.origin or None, wanted="(frames, height, width)", got=chunk.samples.shape
            )
        found: list[Window] = []
        for moment, frame in zip(chunk.times.tolist(), chunk.samples, strict=True):
            if self._last is not None and moment < self._last:
                raise RecordingError("time goes backwards", where=chunk.origin or None)
            self._last = moment
            self.counters.samples += 1
            if self._taken is not None and moment - self._taken < self._pause:
                self.counters.dropped += 1
                continue
            self._taken = moment
            self.counters.windows += 1
            quality = Quality(saturated=saturation_of_frame(frame))
            found.append(Window(moment, moment + self._period, frame, quality, chunk.origin))
        return found

    def finish(self) -> list[Window]:
        """A frame waits for nothing; another stream may follow."""
        self._last = self._taken = None
        return []
