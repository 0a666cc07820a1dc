"""Chunks -> windows: one even time grid, whatever the sensor's clock, batches and gaps do.

    samples    | | | ||  | | |  | | | | |        | | | | | |
    window 0   [--------------)                               start inclusive, stop exclusive
    window 1          [--------------)                        starts one hop later
    window 2                 [--------------)                 holds a gap: less coverage
                                                [---- ...     after a gap longer than a window the grid begins anew

Window k starts at the first sample's time + k x hop. The last, unfinished window is dropped. What a window holds depends
on the samples alone, never on how they were cut into chunks: every decision is taken at a sample's number.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebind import clock, resample
from edgebind import modality as modalities
from edgebind.buffer import Buffer
from edgebind.clock import Reals
from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.quality import covers, holes, may_saturate, saturation, saturation_of_frame, smallest_ranges
from edgebind.signals import NANOSECONDS, Chunk, Floats, Quality, Times, Window

if TYPE_CHECKING:
    from edgebind.sound import SoundWindower

MIN_COVERAGE = 0.5
"""Windows of which real samples cover less than this share are dropped."""
RESTART = NANOSECONDS
"""Nanoseconds: at least so long is the gap, beside a whole window, after which the grid begins anew."""
HISTORY = NANOSECONDS
"""Nanoseconds before a window, or its own length if that is more, whose stamps help to find the sensor's true clock."""
CROWD = 50_000
"""So many samples and more that do not fill a window: their clock stands still, or runs in another unit."""
TOGETHER = 32
"""Windows cut in one pass; the values of more would not fit a small processor's cache."""
CLEAN = Quality()
TOO_SOON = 0.75
"""Share of a hop that must have passed before another frame is taken, since cameras are not punctual."""


@dataclass(slots=True)
class Counters:
    """What a windower has seen so far."""

    samples: int = 0
    windows: int = 0
    """Handed on."""
    dropped: int = 0
    """Windows with less than the smallest coverage, or frames closer than a hop."""
    duplicates: int = 0
    """Samples that repeated the one before, time and values."""
    restarts: int = 0
    """Gaps after which the grid began anew."""


class _Even(NamedTuple):
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
    is_inside: bool
    """Whether there are samples to both sides of all of it."""


class Windower:
    """Cuts the signal of one sensor into windows of a bundle's rate, length and hop."""

    def __init__(self, spec: WindowSpec, *, min_coverage: float = MIN_COVERAGE) -> None:
        """Windows of `spec`.

        Parameters
        ----------
        min_coverage: windows covered less than this (0 to 1) are dropped and counted.
        """
        if not 0 <= min_coverage <= 1:
            raise OptionError("the smallest coverage does not fit", wanted="0 to 1", got=min_coverage)
        self.spec = spec
        self.counters = Counters()
        self._min_coverage = min_coverage
        self._span = round(spec.seconds * NANOSECONDS)
        self._hop = max(1, round(spec.hop_seconds * NANOSECONDS))
        self._step = NANOSECONDS / spec.rate_hz
        self._restart = max(self._span, RESTART)
        self._history = max(self._span, HISTORY)
        self._ranges = smallest_ranges(spec.units)
        self._filter(1)
        self._begin()

    def _begin(self) -> None:
        self._buffer = Buffer(len(self.spec.channels))
        self._start = 0
        self._is_calm = True
        """Whether the clock was even when it was last looked at closely."""
        self._wait = 0
        """Samples to wait for beyond the one that seemed to complete the window."""
        self._origin = ""

    def _filter(self, factor: int) -> None:
        """From here on compute so many values for each grid step: 1 for straight lines, more for a low-pass filter."""
        self._factor = factor
        reach = resample.REACH * factor if factor > 1 else 0
        grid = np.arange(-reach, (self.spec.length - 1) * factor + reach + 1) * (self._step / factor)
        self._grid: Reals = grid[None]
        """Nanoseconds from a window's start at which values are computed."""
        self._reach = round(self._span - self._step + (resample.REACH * self._step if reach else 0))
        """Nanoseconds from a window's start to the stamp that seems to complete it: its last point, and what the filter
        needs beyond it."""

    def push(self, chunk: Chunk) -> list[Window]:
        """Take some samples; returns the windows that they complete.

        Raises
        ------
        RecordingError: other channels than the bundle's, time going backwards, or a clock that stands still.
        """
        self._check(chunk)
        if not len(chunk):
            return []
        self._origin = chunk.origin
        self.counters.samples += len(chunk)
        times, samples = chunk.times, np.asarray(chunk.samples, np.float32)
        since = int(times[0]) - self._buffer.latest if self._buffer.end else 1
        if since > 0 and int(times[-1]) - int(times[0]) + since <= self._restart:
            still = np.flatnonzero(times[1:] <= times[:-1])
            if not len(still) or _are_new(times, samples, still):
                return self._take(times, samples)  # nearly always
        return self._take_carefully(times, samples)

    def finish(self) -> list[Window]:
        """The signal has ended: returns the windows that were still waiting. Another signal may follow."""
        return self._flush()

    def _flush(self) -> list[Window]:
        found = self._ready(final=True)
        origin = self._origin
        self._begin()
        self._origin = origin
        return found

    def _check(self, chunk: Chunk) -> None:
        where, shape = chunk.origin or None, chunk.samples.shape
        if len(shape) != 2 or shape[1] != len(self.spec.channels):
            wanted = f"(samples, {len(self.spec.channels)})"
            raise RecordingError("other channels than the bundle's", where=where, wanted=wanted, got=shape)
        if len(chunk.times) != shape[0]:
            raise RecordingError("each sample needs a time", where=where, wanted=shape[0], got=len(chunk.times))

    def _take_carefully(self, times: Times, samples: Floats) -> list[Window]:
        """Refuse time that goes backwards, leave out repeated samples, and begin anew after long gaps."""
        steps = np.diff(times, prepend=self._buffer.latest if self._buffer.end else times[0] - 1)
        if steps.min() < 0:
            raise RecordingError("time goes backwards", where=self._origin or None)
        keep = np.flatnonzero((steps > 0) | ~self._repeats(samples))
        self.counters.duplicates += len(times) - len(keep)
        times, samples = times[keep], samples[keep]
        found: list[Window] = []
        begin = 0
        for end in (*np.flatnonzero(steps[keep] > self._restart).tolist(), len(times)):
            found += self._take(times[begin:end], samples[begin:end])
            if end < len(times):
                found += self._flush()
                self.counters.restarts += 1
            begin = end
        return found

    def _repeats(self, samples: Floats) -> NDArray[np.bool_]:
        """Which samples have the values of the one before."""
        buffer = self._buffer
        same = np.zeros(len(samples), bool)
        same[0] = bool(buffer.end) and bool((buffer.samples[:, buffer.end - 1] == samples[0]).all())
        same[1:] = (samples[1:] == samples[:-1]).all(axis=1)
        return same

    def _take(self, times: Times, samples: Floats) -> list[Window]:
        if not len(times):
            return []
        buffer = self._buffer
        if not buffer.end:
            self._start = int(times[0])
        buffer.append(times, samples)
        if buffer.latest < self._start + self._reach:
            self._refuse_crowd()
            return []
        return self._ready(final=False)

    def _ready(self, *, final: bool) -> list[Window]:
        """Every window that the samples at hand complete."""
        found: list[Window] = []
        while self._is_one_due(final):
            factor = self._factor
            for even, group in itertools.groupby(self._plan(), key=bool):
                if even:
                    self._emit(found, self._cut_even(list(group)))
                elif not all(self._next_uneven(found, final) for _ in group):
                    return found
                if self._factor != factor:
                    break  # the plan was made for another reach
        return found

    def _is_one_due(self, final: bool) -> bool:
        buffer = self._buffer
        return buffer.end > buffer.first and (final or buffer.latest >= self._start + self._reach)

    def _plan(self) -> list[_Even | None]:
        """How to cut the next windows that seem complete, at least one: None for each that has to be looked at."""
        buffer = self._buffer
        count = min(TOGETHER, (buffer.latest - self._start - self._reach) // self._hop + 1)
        if count < 1 or self._wait or not self._is_calm:
            return [None]
        starts = [self._start + number * self._hop for number in range(count)]
        moments = np.array([(start - self._history, start + self._reach) for start in starts])
        stretches = buffer.indices(moments).tolist()
        return list(map(self._even, starts, stretches, clock.even_lines(buffer.times, stretches)))

    def _even(self, start: int, stretch: tuple[int, int], line: clock.Line | None) -> _Even | None:
        """A window on a straight line, unless it is not complete, has a hole, or wants another filter."""
        if line is None or resample.oversampling(line.period, self._step) != self._factor:
            return None
        first, last = stretch
        shift = start - self._buffer.times.item(first) - line.offset
        end = line.period * (last - first) - shift
        if self._lacks(end) or not covers(-shift, end, self._span, line.period):
            return None
        is_inside = self._grid.item(0) + shift >= 0 and (self._grid.item(-1) + shift) / line.period < last - first
        return _Even(start, shift, line.period, first, last, is_inside)

    def _lacks(self, end: float) -> float:
        """Nanoseconds by which samples that end at `end` after the window's start are too few for it; 0 if they do."""
        return max(0.0, self._reach - self._step / 2 - end)

    def _next_uneven(self, found: list[Window], final: bool) -> bool:
        """Cut the next window, whatever its clock does; False if it needs more samples."""
        buffer = self._buffer
        while True:
            needed = buffer.index(self._start + self._reach) + self._wait
            if needed >= buffer.end and not final:
                return False
            first = buffer.index(self._start - self._history)
            last = min(needed, buffer.end - 1)
            last_chance = final and last == buffer.end - 1
            timeline = clock.straighten(buffer.times[first : last + 1], final=last_chance)
            self._is_calm = timeline.is_calm
            if self._needs_filter(timeline):
                continue  # and so it needs the samples that the filter reaches
            more = self._missing(timeline, self._start - int(buffer.times[first]), last_chance)
            if more is None:
                return False
            if not more:
                self._emit(found, [self._cut(timeline, first)])
                return True
            self._wait += more

    def _needs_filter(self, timeline: clock.Timeline) -> bool:
        """Whether the source turns out to be faster than the grid: seen at the first window, and when its rate changes."""
        before, factor = self._factor, resample.oversampling(timeline.period, self._step)
        if factor != before:
            self._filter(factor)
        return factor > 1 and before == 1

    def _missing(self, timeline: clock.Timeline, start: int, final: bool) -> int | None:
        """How many more samples the window needs: 0 if it is complete, None if it never will be."""
        end = float(timeline.times[-1]) - start
        if final:
            return 0 if end + max(timeline.period, self._step) >= self._span - self._step / 2 else None
        if timeline.undecided:
            return timeline.undecided
        lack = self._lacks(end)
        return max(1, int(lack / timeline.period)) if lack > 0 and timeline.period > 0 else 0

    def _refuse_crowd(self) -> None:
        if self._buffer.end - self._buffer.first > max(CROWD, 500 * self.spec.length):
            raise RecordingError(
                "the clock stands still, or its unit is wrong",
                where=self._origin or None,
                wanted=f"a window of {self.spec.seconds:g} s",
                got=f"{self._buffer.end - self._buffer.first} samples that do not fill it",
            )

    def _cut_even(self, evens: list[_Even]) -> list[Window]:
        """Many windows in one pass; what each holds is the same to the last bit as if it were cut alone."""
        positions = self._grid + _column([even.shift for even in evens])
        positions /= _column([even.period for even in evens])
        if not all(even.is_inside for even in evens):
            np.maximum(positions, 0.0, out=positions)
            np.minimum(positions, _column([clock.before(even.last - even.first) for even in evens]), out=positions)
        first, last = _column([even.first for even in evens]), _column([even.last for even in evens])
        values = self._values(positions, first, last)
        if may_saturate(self._buffer.samples[:, evens[0].first : evens[-1].last + 1], self._ranges):
            qualities = [Quality(saturated=self._saturation(even)) for even in evens]
        else:
            qualities = [CLEAN] * len(evens)
        return [
            Window(even.start, even.start + self._span, own, quality, self._origin)
            for even, own, quality in zip(evens, values, qualities, strict=True)
        ]

    def _saturation(self, even: _Even) -> float:
        count = even.last - even.first
        begin = min(max(int(even.shift / even.period), 0), count)
        stop = min(max(int((even.shift + self._span) / even.period), 0), count)
        return saturation(self._buffer.samples[:, even.first + begin : even.first + stop + 1], self._ranges)

    def _cut(self, timeline: clock.Timeline, first: int) -> Window:
        buffer = self._buffer
        last = first + len(timeline.times) - 1
        start = float(self._start - int(buffer.times[first]))
        shift = start - float(timeline.times[0])
        values = self._values(timeline.positions(self._grid + shift), first, last)[0]
        coverage, longest = holes(timeline, start, start + self._span)
        begin, stop = timeline.positions(np.array([shift, shift + self._span])).astype(np.int64) + first
        quality = Quality(coverage, longest / 1e6, saturation(buffer.samples[:, begin : stop + 1], self._ranges))
        return Window(self._start, self._start + self._span, values, quality, self._origin)

    def _values(self, positions: Reals, first: Any, last: Any) -> Floats:
        """The buffer's samples at some positions of each window, thinned out to the grid: (windows, channels, length).

        Parameters
        ----------
        positions: (windows, grid), counted from the first sample of each window.
        first, last: numbers of the first and the last sample of each.
        """
        samples = self._buffer.samples[:, : self._buffer.end]
        if self._factor == 1:
            return resample.linear(samples, positions, first)
        dense = resample.cubic(samples, positions, first, last)
        return np.ascontiguousarray(resample.decimate(dense, self._factor))

    def _emit(self, found: list[Window], windows: list[Window]) -> None:
        kept = [window for window in windows if window.quality.coverage >= self._min_coverage]
        self.counters.windows += len(kept)
        self.counters.dropped += len(windows) - len(kept)
        found += kept
        self._start += self._hop * len(windows)
        self._wait = 0
        self._buffer.first = self._buffer.index(self._start - self._history)


def _are_new(times: Times, samples: Floats, still: NDArray[np.int64]) -> bool:
    """Whether the samples after `still` have the time of the one before, as phones stamp them, and other values."""
    return bool((times[still + 1] == times[still]).all() and (samples[still + 1] != samples[still]).any(axis=1).all())


def _column(numbers: list[Any]) -> Any:
    """One number for each window, as arrays of (windows, m) take it; a single one as it is, which costs less."""
    return numbers[0] if len(numbers) == 1 else np.array(numbers)[:, None]


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


def make_windower(
    spec: WindowSpec, modality: str, *, every_frame: bool = False
) -> Windower | FrameWindower | SoundWindower:
    """The windower that fits a sensor: of signals, of sound, of frames, or of prompts.

    Raises
    ------
    OptionError: there is no modality of that name.
    """
    if modality == "audio":
        from edgebind.sound import SoundWindower

        return SoundWindower(spec)
    if modality == "text":
        return FrameWindower(spec, every_frame=every_frame, axes=0)
    return FrameWindower(spec, every_frame=every_frame) if modalities.get(modality).is_camera else Windower(spec)
