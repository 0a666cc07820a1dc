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

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgebind import clock, resample
from edgebind import modality as modalities
from edgebind.buffer import Buffer
from edgebind.cutter import TOGETHER, Cutter, Even
from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Chunk, Floats, Times, Window

if TYPE_CHECKING:
    from edgebind.frames import FrameWindower
    from edgebind.sound import SoundWindower

MIN_COVERAGE = 0.5
"""Windows of which real samples cover less than this share are dropped."""
RESTART = NANOSECONDS
"""Nanoseconds: at least so long is the gap, beside a whole window, after which the grid begins anew."""
HISTORY = NANOSECONDS
"""Nanoseconds before a window, or its own length if that is more, whose stamps help to find the sensor's true clock."""
CROWD = 50_000
"""So many samples and more that do not fill a window: their clock stands still, or runs in another unit."""


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
        self._hop = max(1, round(spec.hop_seconds * NANOSECONDS))
        self._cutter = Cutter(spec)
        self._restart = max(self._cutter.span, RESTART)
        self._history = max(self._cutter.span, HISTORY)
        self._begin()

    def _begin(self) -> None:
        self._buffer = Buffer(len(self.spec.channels))
        self._start = 0
        self._is_calm = True
        """Whether the clock was even when it was last looked at closely."""
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
        if buffer.latest < self._start + self._cutter.reach:
            self._refuse_crowd()
            return []
        return self._ready(final=False)

    def _ready(self, *, final: bool) -> list[Window]:
        """Every window that the samples at hand complete."""
        found: list[Window] = []
        evens: list[Even] = []  # cut together, as soon as something else comes
        while self._is_one_due(final):
            cutter = self._cutter
            ahead = self._evens_ahead() or self._look(final)
            if not isinstance(ahead, list) or cutter is not self._cutter:
                found += self._kept(cutter.cut_even(self._buffer, evens, self._origin))
                evens = []
            if ahead is None:
                break
            if isinstance(ahead, Window):
                found += self._kept([ahead])
            else:
                evens += ahead
            self._start += self._hop * (1 if isinstance(ahead, Window) else len(ahead))
            self._wait = 0
        found += self._kept(self._cutter.cut_even(self._buffer, evens, self._origin))
        self._buffer.first = self._buffer.index(self._start - self._history)
        return found

    def _is_one_due(self, final: bool) -> bool:
        """Whether a window seems complete; at the end, whether any sample is left for one."""
        buffer = self._buffer
        return buffer.end > 0 and buffer.latest >= self._start + (-self._history if final else self._cutter.reach)

    def _kept(self, windows: list[Window]) -> list[Window]:
        kept = [window for window in windows if window.quality.coverage >= self._min_coverage]
        self.counters.windows += len(kept)
        self.counters.dropped += len(windows) - len(kept)
        return kept

    def _evens_ahead(self) -> list[Even]:
        """The next windows that are complete, as far as their clock is plainly even."""
        buffer, reach = self._buffer, self._cutter.reach
        count = min(TOGETHER, (buffer.latest - self._start - reach) // self._hop + 1)
        if count < 1 or self._wait or not self._is_calm:
            return []
        starts = [self._start + number * self._hop for number in range(count)]
        stretches = buffer.indices(np.array([(start - self._history, start + reach) for start in starts])).tolist()
        found: list[Even] = []
        for start, stretch, line in zip(starts, stretches, clock.even_lines(buffer.times, stretches), strict=True):
            even = line and self._cutter.even(start, buffer.times.item(stretch[0]), stretch, line)
            if not even:
                break
            found.append(even)
        return found

    def _look(self, final: bool) -> list[Even] | Window | None:
        """The next window, whatever its clock does; None if it needs more samples."""
        buffer = self._buffer
        while True:
            needed = buffer.index(self._start + self._cutter.reach) + self._wait
            if needed >= buffer.end and not final:
                return None
            first, last = buffer.index(self._start - self._history), min(needed, buffer.end - 1)
            last_chance = final and last == buffer.end - 1
            stamp = buffer.times.item(first)
            timeline = clock.straighten(buffer.times[first : last + 1], final=last_chance)
            self._is_calm = timeline.is_calm
            if self._needs_filter(timeline):
                continue  # and so it needs the samples that the filter reaches
            more = self._missing(timeline, self._start - stamp, last_chance)
            if more is None:
                return None
            if not more:
                break
            self._wait += more
        line = clock.Line(timeline.times.item(0), timeline.period)
        even = self._cutter.even(self._start, stamp, (first, last), line) if timeline.is_even else None
        return [even] if even else self._cutter.cut(buffer, timeline, self._start, first, self._origin)

    def _needs_filter(self, timeline: clock.Timeline) -> bool:
        """Whether the source turns out to be faster than the grid: seen at the first window, and when its rate changes."""
        before, factor = self._cutter.factor, resample.oversampling(timeline.period, self._cutter.step)
        if factor != before:
            self._cutter = Cutter(self.spec, factor)
        return factor > 1 and before == 1

    def _missing(self, timeline: clock.Timeline, start: int, final: bool) -> int | None:
        """How many more samples the window needs: 0 if it is complete, None if it never will be."""
        end, step = float(timeline.times[-1]) - start, self._cutter.step
        if final:
            return 0 if end + max(timeline.period, step) >= self._cutter.span - step / 2 else None
        if timeline.undecided:
            return timeline.undecided
        lack = self._cutter.lack(end)
        return max(1, int(lack / timeline.period)) if lack > 0 and timeline.period > 0 else 0

    def _refuse_crowd(self) -> None:
        if self._buffer.end - self._buffer.first > max(CROWD, 500 * self.spec.length):
            raise RecordingError(
                "the clock stands still, or its unit is wrong",
                where=self._origin or None,
                wanted=f"a window of {self.spec.seconds:g} s",
                got=f"{self._buffer.end - self._buffer.first} samples that do not fill it",
            )


def _are_new(times: Times, samples: Floats, still: NDArray[np.int64]) -> bool:
    """Whether the samples after `still` have the time of the one before, as phones stamp them, and other values."""
    return bool((times[still + 1] == times[still]).all() and (samples[still + 1] != samples[still]).any(axis=1).all())


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
    is_prompt = modality == "text"
    if is_prompt or modalities.get(modality).is_camera:
        from edgebind.frames import FrameWindower

        return FrameWindower(spec, every_frame=every_frame, axes=0 if is_prompt else 2)
    return Windower(spec)
