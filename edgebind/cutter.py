"""Samples whose clock is known -> the values of windows on an even grid, and how far they can be believed.

Windows on one straight line are cut many at once, in the same arithmetic as one alone: what a window holds does not
depend, to the last bit, on the windows that are cut beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from edgebind import clock, resample
from edgebind.buffer import Buffer
from edgebind.clock import Line, Reals, Timeline
from edgebind.manifest import WindowSpec
from edgebind.quality import covers, holes, may_saturate, saturation, smallest_ranges
from edgebind.signals import NANOSECONDS, Floats, Quality, Window

TOGETHER = 32
"""Windows cut in one pass; the values of more would not fit a small processor's cache."""
CLEAN = Quality()


class Even(NamedTuple):
    """A window whose samples lie on one straight line, complete and without a hole."""

    start: int
    """Nanoseconds."""
    shift: float
    """Nanoseconds from the line's first sample to the window's start."""
    period: float
    """Nanoseconds."""
    first: int
    """Number of the line's first sample."""
    last: int


class Cutter:
    """Cuts windows out of a buffer's samples."""

    def __init__(self, spec: WindowSpec, factor: int = 1) -> None:
        """Windows of `spec`.

        Parameters
        ----------
        factor: values to compute for each grid step: 1 draws straight lines, more are for a low-pass filter.
        """
        self.factor = factor
        self.span = round(spec.seconds * NANOSECONDS)
        """Nanoseconds from a window's start to its stop."""
        self.step = NANOSECONDS / spec.rate_hz
        """Nanoseconds of the grid."""
        margin = resample.REACH if factor > 1 else 0
        self.reach = round(self.span - self.step + margin * self.step)
        """Nanoseconds from a window's start to the stamp that seems to complete it: its last point, and what the filter
        needs beyond it."""
        dense = np.arange(-margin * factor, (spec.length - 1 + margin) * factor + 1, dtype=np.float64)
        self._grid: Reals = dense[None] * (self.step / factor)
        self._ranges = smallest_ranges(spec.units)

    def lack(self, end: float) -> float:
        """Nanoseconds by which samples that end at `end` after a window's start are too few for it; 0 if they do."""
        return max(0.0, self.reach - self.step / 2 - end)

    def even(self, start: int, stamp: int, stretch: tuple[int, int], line: Line) -> Even | None:
        """A window on a straight line, unless it is incomplete, has a hole, or wants another filter.

        Parameters
        ----------
        stamp: that of the first sample.
        stretch: numbers of the first and the last sample.
        """
        if resample.oversampling(line.period, self.step) != self.factor:
            return None
        first, last = stretch
        shift = start - stamp - line.offset
        end = line.offset + line.period * (last - first) - (start - stamp)
        if self.lack(end) or not covers(-shift, end, self.span, line.period):
            return None
        return Even(start, shift, line.period, first, last)

    def cut_even(self, buffer: Buffer, evens: list[Even], origin: str) -> list[Window]:
        """Windows on straight lines, in the order of their samples."""
        found: list[Window] = []
        for begin in range(0, len(evens), TOGETHER):
            found += self._cut_together(buffer, evens[begin : begin + TOGETHER], origin)
        return found

    def _cut_together(self, buffer: Buffer, evens: list[Even], origin: str) -> list[Window]:
        positions = self._grid + _column([even.shift for even in evens])
        positions /= _column([even.period for even in evens])
        if any(self._overhangs(even) for even in evens):
            np.maximum(positions, 0.0, out=positions)
            np.minimum(positions, _column([clock.before(even.last - even.first) for even in evens]), out=positions)
        first, last = _column([even.first for even in evens]), _column([even.last for even in evens])
        values = self._values(buffer, positions, first, last)
        qualities = [CLEAN] * len(evens)
        if may_saturate(buffer.samples[:, evens[0].first : evens[-1].last + 1], self._ranges):
            qualities = [Quality(saturated=self._saturation(buffer, even)) for even in evens]
        return [
            Window(even.start, even.start + self.span, own, quality, origin)
            for even, own, quality in zip(evens, values, qualities, strict=True)
        ]

    def _overhangs(self, even: Even) -> bool:
        """Whether some of the grid lies before the first sample or behind the last one."""
        begin, end = self._grid.item(0) + even.shift, self._grid.item(-1) + even.shift
        return begin < 0 or end / even.period >= even.last - even.first

    def _saturation(self, buffer: Buffer, even: Even) -> float:
        count = even.last - even.first
        begin = min(max(int(even.shift / even.period), 0), count)
        stop = min(max(int((even.shift + self.span) / even.period), 0), count)
        return saturation(buffer.samples[:, even.first + begin : even.first + stop + 1], self._ranges)

    def cut(self, buffer: Buffer, timeline: Timeline, start: int, first: int, origin: str) -> Window:
        """The window at `start`, whatever the clock does.

        Parameters
        ----------
        timeline: of the samples from number `first` on.
        """
        last = first + len(timeline.times) - 1
        since = float(start - buffer.times.item(first))
        shift = since - float(timeline.times[0])
        (values,) = self._values(buffer, timeline.positions(self._grid + shift), first, last)
        coverage, longest = holes(timeline, since, since + self.span)
        begin, stop = timeline.positions(np.array([shift, shift + self.span])).astype(np.int64) + first
        quality = Quality(coverage, longest / 1e6, saturation(buffer.samples[:, begin : stop + 1], self._ranges))
        return Window(start, start + self.span, values, quality, origin)

    def _values(self, buffer: Buffer, positions: Reals, first: Any, last: Any) -> Floats:
        """Samples at some positions of each window, thinned out to the grid: (windows, channels, length).

        Parameters
        ----------
        positions: (windows, grid), counted from the first sample of each window.
        first, last: numbers of the first and the last sample of each, see `_column`.
        """
        samples = buffer.samples[:, : buffer.end]
        if self.factor == 1:
            return resample.linear(samples, positions, first)
        dense = resample.cubic(samples, positions, first, last)
        return np.ascontiguousarray(resample.decimate(dense, self.factor))


def _column(numbers: list[Any]) -> Any:
    """One number for each window, as arrays (windows, grid) take it; a single one as it is, which costs less."""
    return numbers[0] if len(numbers) == 1 else np.array(numbers)[:, None]
