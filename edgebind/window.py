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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgebind import clock, resample
from edgebind import modality as modalities
from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.quality import holes, saturation, saturation_of_frame
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


@dataclass(slots=True)
class _Buffer:
    """The latest samples, end to end in one array that is moved now and then and never grows without bound."""

    times: Times = field(default_factory=lambda: np.zeros(0, np.int64))
    samples: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    first: int = 0
    """Where the samples still needed begin."""
    end: int = 0

    def append(self, times: Times, samples: Floats) -> None:
        if self.end + len(times) > len(self.times):
            self._make_room(len(times), samples.shape[1])
        self.times[self.end : self.end + len(times)] = times
        self.samples[self.end : self.end + len(times)] = samples
        self.end += len(times)

    def _make_room(self, extra: int, channels: int) -> None:
        kept = slice(self.first, self.end)
        count = self.end - self.first
        times, samples = self.times[kept], self.samples[kept]
        self.times = np.empty(2 * (count + extra) + 1024, np.int64)
        self.samples = np.empty((len(self.times), channels), np.float32)
        self.times[:count] = times
        if count:
            self.samples[:count] = samples
        self.first, self.end = 0, count

    def index(self, moment: int) -> int:
        """The first sample stamped at `moment` or later; `end` if there is none."""
        return self.first + int(self.times[self.first : self.end].searchsorted(moment))


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
        self._factor = 1
        self._begin()

    def _begin(self) -> None:
        self._buffer = _Buffer()
        self._start = 0
        self._wait = 0
        """Samples to wait for beyond the one that seemed to complete the window."""
        self._origin = ""

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
        steps = self._steps(times)
        if steps.min() > 0 and steps.max() <= self._restart:  # nearly always
            return self._take(times, samples)
        return self._take_carefully(times, samples, steps)

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

    def _steps(self, times: Times) -> Times:
        """Nanoseconds since the sample before, for each sample; 1 for the very first."""
        steps = np.empty(len(times), np.int64)
        np.subtract(times[1:], times[:-1], out=steps[1:])
        buffer = self._buffer
        steps[0] = times[0] - buffer.times[buffer.end - 1] if buffer.end else 1
        return steps

    def _take_carefully(self, times: Times, samples: Floats, steps: Times) -> list[Window]:
        """Refuse time that goes backwards, leave out repeated samples, and begin anew after long gaps."""
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
        same[0] = bool(buffer.end) and bool((buffer.samples[buffer.end - 1] == samples[0]).all())
        same[1:] = (samples[1:] == samples[:-1]).all(axis=1)
        return same

    def _take(self, times: Times, samples: Floats) -> list[Window]:
        if not len(times):
            return []
        buffer = self._buffer
        if not buffer.end:
            self._start = int(times[0])
        buffer.append(times, samples)
        if times[-1] < self._complete_at():
            self._refuse_crowd()
            return []
        return self._ready(final=False)

    def _ready(self, *, final: bool) -> list[Window]:
        """Every window that the samples at hand complete."""
        found: list[Window] = []
        buffer = self._buffer
        while buffer.end > buffer.first:
            needed = buffer.index(self._complete_at()) + self._wait
            if needed >= buffer.end and not final:
                break
            first = buffer.index(self._start - self._history)
            last = min(needed, buffer.end - 1)
            last_chance = final and last == buffer.end - 1
            timeline = clock.straighten(buffer.times[first : last + 1], final=last_chance)
            if self._needs_filter(timeline):
                continue  # and so it needs the samples that the filter reaches
            more = self._missing(timeline, int(buffer.times[first]), last_chance)
            if more is None:
                break
            if more:
                self._wait += more
                continue
            self._emit(found, self._cut(timeline, first))
        return found

    def _complete_at(self) -> int:
        """The stamp at which the window seems complete: its last point, and what the filter needs beyond it."""
        return round(self._start + self._span - self._step + self._margin())

    def _margin(self) -> float:
        return resample.REACH * self._step if self._factor > 1 else 0.0

    def _needs_filter(self, timeline: clock.Timeline) -> bool:
        """Whether the source turns out to be faster than the grid: seen at the first window, and when its rate changes."""
        before, self._factor = self._factor, resample.oversampling(timeline.period, self._step)
        return self._factor > 1 and before == 1

    def _missing(self, timeline: clock.Timeline, origin: int, final: bool) -> int | None:
        """How many more samples the window needs: 0 if it is complete, None if it never will be."""
        if final:
            covered = origin + timeline.times[-1] + max(timeline.period, self._step)
            return 0 if covered >= self._start + self._span - self._step / 2 else None
        if timeline.undecided:
            return timeline.undecided
        lack = self._complete_at() - self._step / 2 - (origin + timeline.times[-1])
        return max(1, int(lack / timeline.period)) if lack > 0 and timeline.period > 0 else 0

    def _refuse_crowd(self) -> None:
        if self._buffer.end - self._buffer.first > max(CROWD, 500 * self.spec.length):
            raise RecordingError(
                "the clock stands still, or its unit is wrong",
                where=self._origin or None,
                wanted=f"a window of {self.spec.seconds:g} s",
                got=f"{self._buffer.end - self._buffer.first} samples that do not fill it",
            )

    def _cut(self, timeline: clock.Timeline, first: int) -> Window:
        buffer = self._buffer
        stamps = buffer.times[first : first + len(timeline.times)]
        samples = buffer.samples[first : first + len(timeline.times)]
        start = float(self._start - int(stamps[0]))
        factor = self._factor
        grid = start + np.arange(self.spec.length, dtype=np.float64) * self._step
        if factor == 1:
            values = resample.linear(samples, timeline.positions(grid))
        else:
            reach = resample.REACH * factor
            dense = np.arange(-reach, (self.spec.length - 1) * factor + reach + 1, dtype=np.float64)
            values = resample.cubic(samples, timeline.positions(start + dense * (self._step / factor)))
            values = resample.decimate(values, factor)
        coverage, longest = holes(timeline, start, start + self._span)
        inside = timeline.positions(np.array([start, start + self._span])).astype(np.int64)
        saturated = saturation(samples[inside[0] : inside[1] + 1], self.spec.units)
        quality = Quality(coverage, longest / 1e6, saturated)
        return Window(self._start, self._start + self._span, np.ascontiguousarray(values.T), quality, self._origin)

    def _emit(self, found: list[Window], window: Window) -> None:
        if window.quality.coverage >= self._min_coverage:
            self.counters.windows += 1
            found.append(window)
        else:
            self.counters.dropped += 1
        self._start += self._hop
        self._wait = 0
        self._buffer.first = self._buffer.index(self._start - self._history)


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
