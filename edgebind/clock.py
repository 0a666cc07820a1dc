"""When samples were taken, as opposed to when they were stamped.

A sensor takes its samples evenly; whoever stamps them does so late, and often in batches. A phone at 100 Hz:

    taken      |  |  |  |  |  |  |  |  |  |  |  |
    stamped    |  |  |           ||||||  |  |  |      a pause, then a burst that catches up: a delay, nothing was lost
    taken      |  |  |        .  .  .  |  |  |  |
    stamped    |  |  |                 |  |  |  |      a pause and no burst: samples were lost, there is a gap

Stamps are therefore replaced by a straight line over the samples' numbers, one line for each stretch between gaps, all
with the same slope. Where the stamps are no straight line and show no bursts either (the sensor changed its rate), they
are believed as they stand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebind.signals import Times

Reals = NDArray[np.float64]

EVEN = 0.3
"""Stamps whose distances differ by less than this share of the period hide neither a burst nor a lost sample."""
PAUSE = 1.5
"""Periods between two stamps from which on something was late or lost."""
PROBATION = 6
"""Samples after a pause in which a burst must have begun to catch up."""
UNSURE = 0.05
"""Share of a pause by which a slope that is a little off may seem to lose or to win time in it."""
ROUNDS = 3
"""Searches for gaps, each with a better slope."""
FEW = 8
"""With fewer samples than this no line is drawn."""


class Line(NamedTuple):
    """Sample i of a stretch was taken `offset + period x i` nanoseconds after the first stamp of the stretch."""

    offset: float
    period: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each of some samples was taken."""

    times: Reals
    """(n,) nanoseconds after the first stamp, never falling."""
    period: float
    """Nanoseconds from one sample to the next."""
    gaps: NDArray[np.int64]
    """Numbers of the samples that follow a gap, rising."""
    undecided: int = 0
    """So many more samples are needed to tell a delay at the end from a gap; 0 when there is nothing to tell."""
    is_even: bool = False
    """Whether all of it is one straight line."""

    def positions(self, moments: Reals) -> Reals:
        """Fractional sample numbers, 0 to n - 1, at `moments` (nanoseconds after sample 0 was taken)."""
        last = len(self.times) - 1
        if self.is_even:
            return along(moments, self.period, last)
        return np.interp(moments, self.times - self.times[0], np.arange(last + 1, dtype=np.float64))


NO_GAPS = np.zeros(0, np.int64)


def along(since: Reals, period: Reals | float, last: NDArray[np.int64] | int) -> Reals:
    """Fractional sample numbers, 0 to `last`, so many nanoseconds after sample 0 of a straight line."""
    numbers = since / period
    np.maximum(numbers, 0.0, out=numbers)
    return np.minimum(numbers, last, out=numbers)


def straighten(stamps: Times, *, final: bool = True) -> Timeline:
    """(n,) stamps in nanoseconds, never falling, n >= 1 -> when the samples were taken.

    Parameters
    ----------
    final: False while more samples may come; a timeline that is `undecided` is then a sketch, and not worked out.
    """
    since = stamps - stamps[0]
    stamped = since.astype(np.float64)
    count = len(stamped)
    mean = float(stamped[-1]) / max(1, count - 1)
    steps = stamped[1:] - stamped[:-1]
    if count < FEW or mean == 0:
        return _as_stamped(stamped, steps)
    if steps.max() > (1 + EVEN) * mean or steps.min() < (1 - EVEN) * mean:
        return _uneven(stamped, steps, final)
    line = _exact_line(since)
    times = line.offset + line.period * np.arange(count, dtype=np.float64)
    if np.abs(times - stamped).max() > line.period:  # small steps that add up: the rate itself drifts
        return _as_stamped(stamped, steps)
    return Timeline(times, line.period, NO_GAPS, is_even=True)


def even_lines(stamps: Times, stretches: NDArray[np.int64]) -> list[Line | None]:
    """The lines that `straighten` would draw through many stretches, to the last bit, at a fraction of the cost.

    Parameters
    ----------
    stretches: (n, 2) numbers of the first and the last stamp of each stretch, in rising order; they may overlap.

    Returns
    -------
    None for a stretch that is not plainly even, and has to be looked at by `straighten`.
    """
    if int((stretches[:, 1] - stretches[:, 0]).min()) < FEW - 1:
        return [None] * len(stretches)
    base, count = int(stretches[0, 0]), int(stretches[-1, 1] - stretches[0, 0]) + 1
    since = stamps[base : base + count] - stamps[base]
    numbers = np.arange(count)
    pace = int(since[-1]) // (count - 1)
    off = since - pace * numbers
    steps = np.zeros(count, np.int64)
    np.subtract(since[1:], since[:-1], out=steps[:-1])
    bounds = stretches - base
    each = bounds.ravel()  # `reduceat` goes from one of these up to the next: the last sample of a stretch is left out
    early, late = np.minimum.reduceat(off, each)[::2].tolist(), np.maximum.reduceat(off, each)[::2].tolist()
    if count * count * max(max(late), -min(early)) >= 1 << 62:  # the sums below would not fit
        return [None] * len(stretches)
    rows = zip(
        bounds.tolist(),
        since[bounds].tolist(),
        np.minimum.reduceat(steps, each)[::2].tolist(),
        np.maximum.reduceat(steps, each)[::2].tolist(),
        early,
        late,
        np.add.reduceat(off, each)[::2].tolist(),
        np.add.reduceat(off * numbers, each)[::2].tolist(),
        strict=True,
    )
    return [_even_line(pace, *row) for row in rows]


def _even_line(
    pace: int,
    ends: tuple[int, int],
    stamps: tuple[int, int],
    least: int,
    most: int,
    early: int,
    late: int,
    total: int,
    moment: int,
) -> Line | None:
    """The line through a stretch, if it is plainly even.

    Parameters
    ----------
    ends, stamps: number and stamp of its first and last sample.
    least, most: nanoseconds between two stamps.
    early, late: the smallest and the largest `stamp - pace x number`, without the last sample.
    total, moment: see `_fit`, without the last sample.
    """
    (first, last), (start, stop) = ends, stamps
    mean = (stop - start) / (last - first)
    if most > (1 + EVEN) * mean or least < (1 - EVEN) * mean or mean == 0:
        return None
    off = stop - pace * last
    line = _fit(first, last, start, pace, total + off, moment + off * last)
    # Least squares go through the middle 5/6 of what they are drawn through: nothing is further off than a period.
    return line if max(late, off) - min(early, off) <= 0.75 * line.period else None


def _exact_line(since: Times) -> Line:
    """Least squares through all of some stamps, counted from the first."""
    last = len(since) - 1
    pace = int(since[-1]) // last
    numbers = np.arange(last + 1)
    off = since - pace * numbers
    return _fit(0, last, 0, pace, int(off.sum()), int((off * numbers).sum()))


def _fit(first: int, last: int, start: int, pace: int, total: int, moment: int) -> Line:
    """Least squares of the stamps number `first` to `last` over their numbers.

    All sums are of whole numbers, so the line is the same however many stretches are summed together.

    Parameters
    ----------
    start: the stamp number `first`.
    total, moment: sum of `stamp - pace x number`, and of that times the number.
    """
    count = last - first + 1
    spread = count * (count * count - 1) // 6
    period = (2 * moment - (first + last) * total + pace * spread) / spread
    height = (total + pace * count * (first + last) // 2 - count * start) / count
    return Line(height - period * (count - 1) / 2, period)


def _line(numbers: Reals, stamped: Reals) -> tuple[float, float]:
    """Least squares: slope and offset of `stamped` over `numbers`."""
    count = len(numbers)
    middle, height = float(numbers.sum()) / count, float(stamped.sum()) / count
    centred = numbers - middle
    slope = float(centred @ stamped) / float(centred @ centred)
    return slope, height - slope * middle


def _as_stamped(stamped: Reals, steps: Reals) -> Timeline:
    """Believe the stamps; the usual distance is the period, and a gap is longer than what lies beside it."""
    moving = steps[steps > 0]
    if not len(moving):
        return Timeline(stamped, 0.0, NO_GAPS)
    beside = np.minimum(np.concatenate((steps[1:], [np.inf])), np.concatenate(([np.inf], steps[:-1])))
    period = float(np.median(moving))
    usual = np.maximum(beside, period) if len(steps) > 1 else np.array([period])
    return Timeline(stamped, period, np.flatnonzero(steps > PAUSE * usual) + 1)


def _uneven(stamped: Reals, steps: Reals, final: bool) -> Timeline:
    period, line = _lines(stamped, NO_GAPS, 0.0)
    gaps, undecided = _find_gaps(stamped, steps, period)
    if undecided and not final:
        return Timeline(line, period, gaps, undecided)
    for _ in range(ROUNDS if len(gaps) else 0):
        # The first slope took the gaps for time between samples; the slope beside them shows the smaller gaps too.
        before = gaps
        period, line = _lines(stamped, gaps, period)
        gaps, undecided = _find_gaps(stamped, steps, period)
        if np.array_equal(before, gaps):
            break
    bursts = np.count_nonzero(steps < 0.5 * period)
    if bursts * 100 < len(steps) and np.abs(line - stamped).max() > PAUSE * period:
        return _as_stamped(stamped, steps)
    if len(gaps):
        line = np.maximum.accumulate(line)
    return Timeline(line, period, gaps, undecided, is_even=not len(gaps))


def _find_gaps(stamped: Reals, steps: Reals, period: float) -> tuple[NDArray[np.int64], int]:
    """Numbers of the samples after a gap, and how many more samples would tell whether the last pause is one."""
    pauses = np.flatnonzero(steps > PAUSE * period) + 1
    if not len(pauses):
        return NO_GAPS, 0
    count, pause_ns = len(stamped), steps[pauses - 1]
    reach = PROBATION + int(np.ceil(pause_ns.max() / period))
    late = np.full(count + 2 * reach, np.inf)  # lateness, but for a constant; nothing is known beyond the ends
    late[reach : reach + count] = stamped - period * np.arange(count)
    near = pauses[:, None] + np.arange(reach)
    before, after = late[near].min(axis=1), late[near + reach].min(axis=1)
    lost = after - before > np.maximum(0.5 * period, UNSURE * pause_ns)
    if not lost.any():
        return NO_GAPS, 0
    undecided = _undecided(late[reach : reach + count], pauses, pause_ns - period, after - before, period)
    return pauses[lost], undecided


def _undecided(late: Reals, pauses: NDArray[np.int64], excess: Reals, risen: Reals, period: float) -> int:
    """How many more samples tell whether the last pause was a delay; 0 when it is clear already.

    Parameters
    ----------
    excess: nanoseconds, by how much each pause is longer than a period.
    risen: nanoseconds, by how much the least lateness after each pause is above that before it.
    """
    last = len(late) - 1
    pause: int
    for pause, missing, rise in zip(pauses[::-1].tolist(), excess[::-1].tolist(), risen[::-1].tolist(), strict=True):
        behind: int = math.ceil(rise / period - 0.5)
        seen: int = last - pause
        if behind <= 0 or seen >= missing / period + PROBATION:
            return 0
        if seen < PROBATION:
            return max(1, min(behind, PROBATION - seen))
        if late[pause] - late[pause + PROBATION :].min() >= min(missing / 2, 2 * period):
            return behind  # it does catch up, and is not there yet
    return 0


def _lines(stamped: Reals, gaps: NDArray[np.int64], period: float) -> tuple[float, Reals]:
    """The common slope, and the line of each stretch between gaps; stamps that are very late have no say in it."""
    if not len(gaps):
        return _trusted_line(stamped)
    numbers = np.arange(len(stamped), dtype=np.float64)
    starts = np.concatenate(([0], gaps))
    stretch = np.repeat(np.arange(len(starts)), np.diff(np.concatenate((starts, [len(stamped)]))))
    trust = np.ones(len(stamped))
    for _ in range(2):
        slope, offsets = _weighted(numbers, stamped, trust, starts, stretch, period)
        line = offsets[stretch] + slope * numbers
        trust = _believable(stamped - line, slope).astype(np.float64)
    return slope, line


def _trusted_line(stamped: Reals) -> tuple[float, Reals]:
    numbers = np.arange(len(stamped), dtype=np.float64)
    slope, offset = _line(numbers, stamped)
    trust = _believable(stamped - (offset + slope * numbers), slope)
    slope, offset = _line(numbers[trust], stamped[trust])
    return slope, offset + slope * numbers


def _believable(off: Reals, slope: float) -> NDArray[np.bool_]:
    """Which stamps are not much further off a line than the usual one: 4.5 medians are 3 standard deviations."""
    off = np.abs(off)
    usual = np.partition(off, len(off) // 2)[len(off) // 2]
    return off <= max(4.5 * float(usual), 1e-3 * slope)


def _weighted(
    numbers: Reals, stamped: Reals, trust: Reals, starts: NDArray[np.int64], stretch: NDArray[np.int64], period: float
) -> tuple[float, Reals]:
    """Least squares of one slope and an offset for each stretch."""
    weight = np.add.reduceat(trust, starts)
    safe = np.where(weight > 0, weight, 1.0)
    middle = np.add.reduceat(trust * numbers, starts) / safe
    height = np.add.reduceat(trust * stamped, starts) / safe
    centred = trust * (numbers - middle[stretch])
    spread = float(centred @ numbers)
    slope = float(centred @ stamped) / spread if spread > 0 else period
    if slope <= 0:
        slope = period
    first = stamped[starts] - slope * numbers[starts]
    return slope, np.where(weight > 0, height - slope * middle, first)
