"""How far a window can be believed: holes, and values at the sensor's limit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.clock import PAUSE, Timeline
from edgebind.signals import Floats

SMALLEST_RANGE = {"m/s²": 18.6, "rad/s": 2.1, "full scale": 0.99}
"""By unit, a little less than the smallest range sensors are built with (±2 g, ±125 °/s, ±1): below it nothing is cut
off, and values that repeat are only coarse steps of a sensor at rest. Units that are not here are not judged."""
FLAT = 3
"""So many equal values in a row, at the largest magnitude of the window, are a peak that was cut off."""


def covers(begin: float, end: float, span: float, period: float) -> bool:
    """Whether samples from `begin` to `end` without a gap leave no hole in [0, span), all in nanoseconds."""
    return begin <= (PAUSE - 1) * period and end >= span - PAUSE * period


def holes(timeline: Timeline, start: float, stop: float) -> tuple[float, float]:
    """Share of [start, stop) that samples cover, each for one period, and the longest hole in it in nanoseconds.

    Times are those of the timeline: nanoseconds after its first stamp.
    """
    times, period = timeline.times, timeline.period
    after = timeline.gaps
    if not len(after) and covers(times[0] - start, times[-1] - start, stop - start, period):
        return 1.0, 0.0  # nearly always
    # A hole begins where the period of the sample before it ends; so may the window, and the samples may end before it.
    begins = np.concatenate(([start], times[after - 1] + period, [times[-1] + period]))
    ends = np.concatenate(([times[0]], times[after], [stop]))
    begins, ends = np.maximum(begins, start), np.minimum(ends, stop)
    lengths = np.maximum(ends - begins, 0.0)
    lengths[[0, -1]] *= lengths[[0, -1]] > (PAUSE - 1) * period
    return float(1.0 - lengths.sum() / (stop - start)), float(lengths.max())


def smallest_ranges(units: tuple[str, ...]) -> Floats:
    """(channels, 1): what a channel must reach before it can be at its sensor's limit."""
    return np.array([[SMALLEST_RANGE.get(unit, np.inf)] for unit in units], np.float32)


def may_saturate(samples: Floats, ranges: Floats) -> bool:
    """Whether any channel of (channels, n) has as much as one flat top; False says that no part of it is saturated."""
    loud = np.abs(samples) >= ranges
    if not np.count_nonzero(loud):
        return False
    same = samples[:, 1:] == samples[:, :-1]
    return bool(np.count_nonzero(same[:, 1:] & same[:, :-1] & loud[:, 2:]))


def saturation(samples: Floats, ranges: Floats) -> float:
    """Share of the values (channels, n) that stand at the sensor's limit.

    A limit shows as a flat top: the channel's largest magnitude, repeated at least `FLAT` times in a row, and not below
    the smallest range of any such sensor.
    """
    if not samples.size or not may_saturate(samples, ranges):
        return 0.0
    largest = np.abs(samples).max(axis=1, keepdims=True)
    suspects = np.flatnonzero(largest >= ranges)
    return sum(_flat(samples[channel], float(largest[channel, 0])) for channel in suspects) / samples.size


def _flat(values: Floats, largest: float) -> int:
    """How many values stand in runs of at least `FLAT` at +largest or at -largest."""
    count = 0
    for limit in (largest, -largest):
        touches = values == np.float32(limit)
        if np.count_nonzero(touches) < FLAT:
            continue
        at_limit = np.concatenate(([False], touches, [False]))
        changes = np.flatnonzero(at_limit[1:] != at_limit[:-1])
        runs = changes[1::2] - changes[::2]
        count += int(runs[runs >= FLAT].sum())
    return count


def saturation_of_frame(frame: NDArray[Any]) -> float:
    """Share of the pixels of an 8- or 16-bit frame at the lowest or highest value; 0 for frames in physical units."""
    limits = {"uint8": 255, "uint16": 65535}
    top = limits.get(frame.dtype.name)
    if top is None or not frame.size:
        return 0.0
    return float(np.count_nonzero((frame == 0) | (frame == top)) / frame.size)
