"""Samples at some times -> samples on an even grid.

    source rate                  how
    up to 1.25 x the grid's      straight lines between samples, as the starter's towers were trained
    above                        a cubic to a denser grid, a low-pass filter, then every r-th value: never slicing alone

A grid denser than the source invents nothing: what lies between two samples is a straight line.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgebind.clock import Reals
from edgebind.signals import Floats

Numbers = NDArray[np.int64]

FASTER = 1.25
"""Sources faster than the grid by more than this factor are filtered; below it less than a fifth of the band could fold."""
REACH = 6
"""Grid steps that the low-pass filter looks to either side."""
CUTOFF = 0.42
"""Of the grid's rate: where the filter halves an amplitude. Flat below 0.26, less than a thousandth above 0.58."""
KAISER_BETA = 6.0


def oversampling(period_ns: float, step_ns: float) -> int:
    """Values to compute for each grid step: 1 for a source that needs no filter."""
    if period_ns <= 0 or step_ns <= FASTER * period_ns:
        return 1
    return max(2, int(np.ceil(step_ns / period_ns - 0.05)))


def linear(samples: Floats, positions: Reals, first: Numbers | int) -> Floats:
    """Values between samples, by straight lines: (channels, n) -> (windows, channels, m).

    Parameters
    ----------
    positions: (windows, m) fractional sample numbers, counted from each window's own first sample, below its last.
    first: number of each window's first sample, (windows, 1).
    """
    whole = np.floor(positions)
    part = (positions - whole).astype(np.float32)
    low = whole.astype(np.int64)
    low += first
    left = samples.take(low, axis=1)  # (channels, windows, m)
    low += 1
    values = samples.take(low, axis=1, mode="clip")  # a window of one sample has nothing to its right
    values -= left
    values *= part
    values += left
    return np.ascontiguousarray(values.transpose(1, 0, 2))


def cubic(samples: Floats, positions: Reals, first: Numbers | int, last: Numbers | int) -> Floats:
    """Values between samples, by Catmull-Rom's cubic through four of them; otherwise as `linear`.

    Parameters
    ----------
    first, last: numbers of the first and the last sample that each window may use, (windows, 1).
    """
    low = positions.astype(np.int64)
    u = (positions - low).astype(np.float32)
    low += first
    a, b, c, d = (samples.take(np.clip(low + shift, first, last), axis=1) for shift in (-1, 0, 1, 2))
    curved: Floats = b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))
    return curved.transpose(1, 0, 2)


def decimate(dense: Floats, factor: int) -> Floats:
    """Low-pass and thin out: (windows, channels, (length - 1) x factor + taps) -> (windows, channels, length)."""
    taps = low_pass(factor)
    views = np.lib.stride_tricks.sliding_window_view(dense, len(taps), axis=2)[:, :, ::factor]
    thinned: Floats = views @ taps
    return thinned


@cache
def low_pass(factor: int) -> Floats:
    """Taps of a Kaiser-windowed sinc, 2 x REACH x factor + 1 of them, whose sum is 1 (Oppenheim & Schafer, 7.5)."""
    offsets = np.arange(-REACH * factor, REACH * factor + 1) / factor
    taps = np.sinc(2 * CUTOFF * offsets) * np.kaiser(len(offsets), KAISER_BETA)
    unit: Floats = (taps / taps.sum()).astype(np.float32)
    return unit
