"""Sound -> windows, cut at whole samples: a sound card's clock is even, so nothing is resampled or straightened here.

    sound      ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
    window 0   [--------------)                 start inclusive, stop exclusive
    window 1          [--------------)          starts one hop later; the last, unfinished one is dropped

A sound that is shorter than a window is a window of its own, as ImageBind hears short sounds: its coverage says how much
of the window it fills.
"""

from __future__ import annotations

import numpy as np

from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.quality import saturation, smallest_ranges
from edgebind.signals import NANOSECONDS, Chunk, Floats, Quality, Times, Window
from edgebind.window import Counters

TORN = NANOSECONDS // 20
"""Nanoseconds between two chunks beyond which sound is missing, and the windows begin anew."""
OTHER_RATE = 0.01
"""Share by which the rate of a chunk may differ from the bundle's: clocks drift, by far less."""


class SoundWindower:
    """Cuts the sound of one source, which has the bundle's rate already, into windows of a bundle's length and hop."""

    def __init__(self, spec: WindowSpec) -> None:
        """Windows of `spec`; they hold as many channels as the source sends."""
        self.spec = spec
        self.counters = Counters()
        self._span = round(spec.seconds * NANOSECONDS)
        self._hop = max(1, round(spec.hop_seconds * spec.rate_hz))
        self._begin()

    def _begin(self) -> None:
        self._times: list[Times] = []
        self._parts: list[Floats] = []
        self._count = 0
        """Samples that wait in `_parts`."""
        self._last: int | None = None
        """Time of the latest sample."""
        self._skip = 0
        """Samples still to come that no window holds, where the hop is longer than a window."""
        self._is_whole = True
        """Whether all of the sound still waits: nothing was cut off it, nothing was lost."""
        self._origin = ""

    def push(self, chunk: Chunk) -> list[Window]:
        """Take some samples (n, channels); returns the windows that they complete.

        Raises
        ------
        RecordingError: another shape than before, another rate than the bundle's, or time going backwards.
        """
        self._check(chunk)
        if not len(chunk):
            return []
        if self._is_torn(chunk):
            self._begin()
            self._is_whole = False
            self.counters.restarts += 1
        self.counters.samples += len(chunk)
        self._origin = chunk.origin
        self._times.append(chunk.times)
        self._parts.append(chunk.samples)
        self._count += len(chunk)
        self._last = int(chunk.times[-1])
        return self._cut() if self._count >= self._skip + self.spec.length else []

    def finish(self) -> list[Window]:
        """The sound has ended: returns it as a window if it was shorter than one. Another sound may follow."""
        found = [self._window(*self._joined(), 0)] if self._is_whole and self._count else []
        self._begin()
        return found

    def _check(self, chunk: Chunk) -> None:
        where, shape = chunk.origin or None, chunk.samples.shape
        if len(shape) != 2 or not shape[1] or len(chunk.times) != shape[0]:
            raise RecordingError("no sound", where=where, wanted="(samples, channels) and a time for each", got=shape)
        if self._parts and shape[1] != self._parts[0].shape[1]:
            raise RecordingError(
                "the channels change", where=where, wanted=self._parts[0].shape[1], got=f"{shape[1]} channels"
            )
        if len(chunk) > 1:
            self._check_rate(chunk)

    def _check_rate(self, chunk: Chunk) -> None:
        span = int(chunk.times[-1] - chunk.times[0])
        rate = (len(chunk) - 1) * NANOSECONDS / span if span > 0 else float("inf")
        if abs(rate / self.spec.rate_hz - 1) > OTHER_RATE:
            raise RecordingError(
                "sound at another rate",
                where=chunk.origin or None,
                wanted=f"{self.spec.rate_hz:g} Hz",
                got=f"{rate:.6g} Hz",
            )

    def _is_torn(self, chunk: Chunk) -> bool:
        if self._last is None:
            return False
        pause = int(chunk.times[0]) - self._last
        if pause < 0:
            raise RecordingError("time goes backwards", where=chunk.origin or None)
        return pause > TORN

    def _joined(self) -> tuple[Times, Floats]:
        return np.concatenate(self._times), np.concatenate(self._parts)

    def _cut(self) -> list[Window]:
        times, samples = self._joined()
        starts = range(self._skip, len(times) - self.spec.length + 1, self._hop)
        found = [self._window(times, samples, start) for start in starts]
        rest = min(starts[-1] + self._hop, len(times))
        self._skip = starts[-1] + self._hop - rest
        self._times, self._parts, self._count = [times[rest:]], [samples[rest:]], len(times) - rest
        self._is_whole = False
        return found

    def _window(self, times: Times, samples: Floats, first: int) -> Window:
        part = samples[first : first + self.spec.length]
        quality = Quality(
            coverage=len(part) / self.spec.length,
            saturated=saturation(part.T, smallest_ranges(self.spec.units * part.shape[1])),
        )
        self.counters.windows += 1
        start = int(times[first])
        return Window(start, start + self._span, np.ascontiguousarray(part.T), quality, self._origin)
