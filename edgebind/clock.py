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

from dataclasses import dataclass

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
FEW = 8
"""With fewer samples than this no line is drawn."""


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
        """Fractional sample numbers, 0 to n - 1, at `moments` (nanoseconds after the first stamp)."""
        last = len(self.times) - 1
        if self.is_even:
            return np.clip((moments - self.times[0]) / self.period, 0.0, last)
        return np.interp(moments, self.times, np.arange(last + 1, dtype=np.float64))


NO_GAPS = np.zeros(0, np.int64)


def straighten(stamps: Times) -> Timeline:
    """(n,) stamps in nanoseconds, never falling, n >= 1 -> when the samples were taken."""
    stamped = (stamps - stamps[0]).astype(np.float64)
    count = len(stamped)
    mean = stamped[-1] / max(1, count - 1)
    steps = np.diff(stamped)
    if count >= FEW and mean > 0 and np.abs(steps - mean).max() <= EVEN * mean:
        return _even(stamped, steps)
    if count < FEW or mean == 0:
        return _as_stamped(stamped, steps)
    return _uneven(stamped, steps)


def _even(stamped: Reals, steps: Reals) -> Timeline:
    numbers = np.arange(len(stamped), dtype=np.float64)
    slope, offset = _line(numbers, stamped)
    line = offset + slope * numbers
    if np.abs(line - stamped).max() > slope:  # small steps that add up: the rate itself drifts
        return _as_stamped(stamped, steps)
    return Timeline(line, slope, NO_GAPS, is_even=True)


def _line(numbers: Reals, stamped: Reals) -> tuple[float, float]:
    """Least squares: slope and offset of `stamped` over `numbers`."""
    middle, height = numbers.mean(), stamped.mean()
    centred = numbers - middle
    slope = float(centred @ stamped / (centred @ centred))
    return slope, float(height - slope * middle)


def _as_stamped(stamped: Reals, steps: Reals) -> Timeline:
    """Believe the stamps; the usual distance is the period."""
    moving = steps[steps > 0]
    period = float(np.median(moving)) if len(moving) else 0.0
    gaps = np.flatnonzero(steps > PAUSE * period) + 1 if period else NO_GAPS
    return Timeline(stamped, period, gaps)


def _uneven(stamped: Reals, steps: Reals) -> Timeline:
    period = _usual_period(stamped)
    gaps, _ = _find_gaps(stamped, steps, period)
    period, _ = _lines(stamped, gaps, period)
    # With the better slope the search can tell a single lost sample from a slope that was a little off.
    gaps, undecided = _find_gaps(stamped, steps, period)
    period, line = _lines(stamped, gaps, period)
    bursts = np.count_nonzero(steps < 0.5 * period)
    if bursts * 100 < len(steps) and np.abs(line - stamped).max() > PAUSE * period:
        return _as_stamped(stamped, steps)
    return Timeline(np.maximum.accumulate(line), period, gaps, undecided, is_even=not len(gaps))


def _usual_period(stamped: Reals) -> float:
    """Period from distances over many samples, so that batches even out; the longest ones may hold gaps."""
    lag = int(np.clip(len(stamped) // 8, 3, 64))
    lags = np.sort(stamped[lag:] - stamped[:-lag])
    usual = float(lags[len(lags) // 10 : max(len(lags) // 10 + 1, len(lags) * 6 // 10)].mean()) / lag
    return usual if usual > 0 else float(stamped[-1]) / (len(stamped) - 1)


def _find_gaps(stamped: Reals, steps: Reals, period: float) -> tuple[NDArray[np.int64], int]:
    """Numbers of the samples after a gap, and how many more samples would tell whether the last pause is one."""
    pauses = np.flatnonzero(steps > PAUSE * period) + 1
    if not len(pauses):
        return NO_GAPS, 0
    late = stamped - period * np.arange(len(stamped))  # lateness, but for a constant
    reach = PROBATION + int(np.ceil(steps[pauses - 1].max() / period))
    before = _lowest(late, pauses - reach, pauses)
    after = _lowest(late, pauses, pauses + reach)
    excess = steps[pauses - 1] - period
    lost = after - before > 0.5 * period
    undecided = _undecided(late, pauses, excess, before, after, period) if lost.any() else 0
    return pauses[lost], undecided


def _lowest(late: Reals, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Reals:
    """Smallest of `late` from each start to its stop (exclusive); both are cut off at the ends."""
    count = len(late)
    columns = np.arange(int((stops - starts).max()))
    rows = np.clip(starts[:, None] + columns, np.maximum(starts, 0)[:, None], np.minimum(stops, count)[:, None] - 1)
    lowest: Reals = late[rows].min(axis=1)
    return lowest


def _undecided(
    late: Reals, pauses: NDArray[np.int64], excess: Reals, before: Reals, after: Reals, period: float
) -> int:
    """How many more samples tell whether the last pause was a delay; 0 when it is clear already."""
    last = len(late) - 1
    for pause, missing, level, lowest in zip(pauses[::-1], excess[::-1], before[::-1], after[::-1], strict=True):
        behind = int(np.ceil((lowest - level) / period - 0.5))
        seen = last - pause
        if behind <= 0 or seen >= missing / period + PROBATION:
            return 0
        if seen < PROBATION:
            return max(1, min(behind, PROBATION - seen))
        if late[pause] - late[pause + PROBATION :].min() >= min(missing / 2, 2 * period):
            return behind  # it does catch up, and is not there yet
    return 0


def _lines(stamped: Reals, gaps: NDArray[np.int64], period: float) -> tuple[float, Reals]:
    """The common slope, and the line of each stretch between gaps; stamps that are very late have no say in it."""
    numbers = np.arange(len(stamped), dtype=np.float64)
    starts = np.concatenate(([0], gaps))
    stretch = np.repeat(np.arange(len(starts)), np.diff(np.concatenate((starts, [len(stamped)]))))
    trust = np.ones(len(stamped))
    for _ in range(2):
        slope, offsets = _weighted(numbers, stamped, trust, starts, stretch, period)
        line = offsets[stretch] + slope * numbers
        off = np.abs(stamped - line)
        usual = float(np.partition(off, len(off) // 2)[len(off) // 2])
        trust = (off <= max(4.5 * usual, 1e-3 * slope)).astype(np.float64)
    return slope, line


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
