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
from collections.abc import Sequence
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
    is_calm: bool = False
    """Whether the stamps themselves lie evenly on that line."""

    def positions(self, moments: Reals) -> Reals:
        """Fractional sample numbers, from 0 to `before` the last, at `moments` (nanoseconds after sample 0 was taken)."""
        last = len(self.times) - 1
        if self.is_even:
            numbers = np.maximum(moments / self.period, 0.0)
        else:
            numbers = np.interp(moments, self.times - self.times[0], np.arange(last + 1.0))
        return np.minimum(numbers, before(last))


NO_GAPS = np.zeros(0, np.int64)


def before(last: int) -> float:
    """The largest fractional number below that of the last sample: there is a sample after it to draw a line to."""
    return math.nextafter(last, 0.0)


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
    off = np.abs(times - stamped).max()
    if off > line.period:  # small steps that add up: the rate itself drifts
        return _as_stamped(stamped, steps)
    return Timeline(times, line.period, NO_GAPS, is_even=True, is_calm=bool(off < EVEN * line.period))


def even_lines(stamps: Times, stretches: Sequence[tuple[int, int]]) -> list[Line | None]:
    """The lines that `straighten` would draw through many stretches, to the last bit, at a fraction of the cost.

    Parameters
    ----------
    stretches: numbers of the first and the last stamp of each, in rising order; they may overlap.

    Returns
    -------
    None for a stretch that is not plainly even: `straighten` has to look at it.
    """
    base, end = stretches[0][0], stretches[-1][1]
    if any(last - first < FEW - 1 or stamps.item(last) == stamps.item(first) for first, last in stretches):
        return [None] * len(stretches)
    origin, count = stamps.item(base), end - base + 1
    pace = max(1, (stamps.item(end) - origin) // (count - 1))
    bounds = np.array([number - base for stretch in stretches for number in stretch])
    off = stamps[base : end + 1] - np.arange(origin, origin + count * pace, pace)
    # `reduceat` goes from one bound up to the next one, which is left out; so is the last sample of each stretch.
    early, late = np.minimum.reduceat(off, bounds)[::2].tolist(), np.maximum.reduceat(off, bounds)[::2].tolist()
    if count * count * (max(late) - min(early)) >= 1 << 62:  # the sums below would not fit
        return [None] * len(stretches)
    totals = np.add.reduceat(off, bounds)[::2].tolist()
    moments = np.add.reduceat(off * np.arange(count), bounds)[::2].tolist()
    lines: list[Line | None] = []
    for (first, last), low, high, total, moment in zip(stretches, early, late, totals, moments, strict=True):
        number, since, rest = last - base, stamps.item(first) - origin, off.item(last - base)
        line = _fit(first - base, number, since, pace, total + rest, moment + rest * number)
        swing = max(high, rest) - min(low, rest)
        lines.append(line if _is_plain(stamps[first : last + 1], line, pace, swing) else None)
    return lines


def _is_plain(stamps: Times, line: Line, pace: int, swing: int) -> bool:
    """Whether a line goes through evenly spaced stamps and leaves none more than a period away.

    Parameters
    ----------
    swing: how far apart, in nanoseconds, the stamps lie when `pace x number` is taken from each.
    """
    # Least squares stay within 5/6 of the swing around its middle, so no stamp is further off than 4/3 of it.
    if swing > 0.75 * line.period:
        return False
    mean = (stamps.item(-1) - stamps.item(0)) / (len(stamps) - 1)
    if swing + abs(mean - pace) <= EVEN * mean:  # then no step can differ by more
        return True
    steps = stamps[1:] - stamps[:-1]
    return bool(steps.max() <= (1 + EVEN) * mean and steps.min() >= (1 - EVEN) * mean)


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
    numbers = np.arange(len(stamped), dtype=np.float64)
    period, line = _line(numbers, stamped)
    gaps, undecided = _find_gaps(numbers, stamped, steps, period)
    if undecided and not final:
        return Timeline(line, period, gaps, undecided)
    for _ in range(ROUNDS if len(gaps) else 0):
        # The first slope took the gaps for time between samples; the slope beside them shows the smaller gaps too.
        before = gaps
        period, line = _lines(numbers, stamped, gaps, period)
        gaps, undecided = _find_gaps(numbers, stamped, steps, period)
        if np.array_equal(before, gaps):
            break
    bursts = np.count_nonzero(steps < 0.5 * period)
    if bursts * 100 < len(steps) and np.abs(line - stamped).max() > PAUSE * period:
        return _as_stamped(stamped, steps)
    if len(gaps):
        line = np.maximum.accumulate(line)
    return Timeline(line, period, gaps, undecided, is_even=not len(gaps))


def _find_gaps(numbers: Reals, stamped: Reals, steps: Reals, period: float) -> tuple[NDArray[np.int64], int]:
    """Numbers of the samples after a gap, and how many more samples would tell whether the last pause is one."""
    pauses = np.flatnonzero(steps > PAUSE * period) + 1
    if not len(pauses):
        return NO_GAPS, 0
    count, pause_ns = len(stamped), steps[pauses - 1]
    reach = PROBATION + math.ceil(float(pause_ns.max()) / period)
    late = np.empty(count + 1)  # lateness, but for a constant; nothing is known beyond the end
    np.multiply(numbers, -period, out=late[:count])
    late[:count] += stamped
    late[count] = np.inf
    # `reduceat` goes from one bound up to the next: to the pause, from the pause on, and what is between two of them.
    bounds = np.minimum(np.maximum(np.add.outer(pauses, (-reach, 0, reach)), 0), count)
    least = np.minimum.reduceat(late, bounds.ravel())
    risen = least[1::3] - least[::3]
    lost = risen > np.maximum(0.5 * period, UNSURE * pause_ns)
    if not np.count_nonzero(lost):
        return NO_GAPS, 0
    return pauses[lost], _undecided(late[:count], pauses, pause_ns - period, risen, period)


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


def _line(numbers: Reals, stamped: Reals) -> tuple[float, Reals]:
    """The slope of one line, and the line; stamps that are very late have no say in it."""
    n = len(numbers)
    x, xx = n * (n - 1) / 2, (n - 1) * n * (2 * n - 1) / 6
    y, xy = float(np.add.reduce(stamped)), float(numbers @ stamped)
    slope = (n * xy - x * y) / (n * xx - x * x)
    line = numbers * slope + (y - slope * x) / n
    doubted = _doubted(stamped - line, slope)
    if len(doubted):
        at, stamp = numbers[doubted], stamped[doubted]
        n -= len(at)
        x, y = x - float(at.sum()), y - float(stamp.sum())
        xx, xy = xx - float(at @ at), xy - float(at @ stamp)
        slope = (n * xy - x * y) / (n * xx - x * x)
        line = numbers * slope + (y - slope * x) / n
    return slope, line


def _lines(numbers: Reals, stamped: Reals, gaps: NDArray[np.int64], period: float) -> tuple[float, Reals]:
    """The common slope of the lines between gaps, and the lines; stamps that are very late have no say in them."""
    starts = np.concatenate(([0], gaps))
    counts = np.diff(starts, append=len(stamped))
    n, x, y = counts.astype(np.float64), np.add.reduceat(numbers, starts), np.add.reduceat(stamped, starts)
    xx, xy = float(numbers @ numbers), float(numbers @ stamped)
    slope, offsets = _slope_of_many(n, x, y, xx, xy, period)
    line = numbers * slope + np.repeat(offsets, counts)
    doubted = _doubted(stamped - line, slope)
    if len(doubted):
        at, stamp = numbers[doubted], stamped[doubted]
        stretch = starts.searchsorted(doubted, side="right") - 1
        n -= np.bincount(stretch, minlength=len(n))
        x -= np.bincount(stretch, at, len(n))
        y -= np.bincount(stretch, stamp, len(n))
        slope, offsets = _slope_of_many(n, x, y, xx - float(at @ at), xy - float(at @ stamp), period)
        offsets = np.where(n > 0, offsets, stamped[starts] - slope * numbers[starts])  # where nothing is believed
        line = numbers * slope + np.repeat(offsets, counts)
    return slope, line


def _slope_of_many(n: Reals, x: Reals, y: Reals, xx: float, xy: float, period: float) -> tuple[float, Reals]:
    """Least squares of one slope and an offset for each stretch, from the sums over each and over all.

    Parameters
    ----------
    period: the slope where every stretch is a single sample.
    """
    mean = x / np.maximum(n, 1.0)
    spread = xx - float(mean @ x)
    slope = (xy - float(mean @ y)) / spread if spread > 0.5 else period
    slope = slope if slope > 0 else period
    return slope, (y - slope * x) / np.maximum(n, 1.0)


def _doubted(off: Reals, slope: float) -> NDArray[np.int64]:
    """Which stamps are much further off a line than the usual one: 4.5 medians are 3 standard deviations."""
    off = np.abs(off)
    middle = len(off) // 2
    usual = float(np.partition(off, middle)[middle])
    return np.flatnonzero(off > max(4.5 * usual, 1e-3 * slope))
