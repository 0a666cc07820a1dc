"""Observers: what range of values one tensor takes, learnt from a stream of batches in bounded memory.

    Histogram   the summary that all share: 2 x 2048 bins around zero, lowest, highest, count
    MinMax      the whole range
    Percentile  all but a few extreme values
    Entropy     the clip that loses least information at 8 bits (KL divergence)

Several observers may share one histogram, so a batch is counted once however many methods are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import CalibrationError, OptionError

BINS = 2048
"""Bins on either side of zero."""
LEVELS = 128
"""Magnitudes that a symmetric 8-bit integer can hold."""

Array = NDArray[Any]
Range = tuple[float, float]


class Observer(Protocol):
    """Statistics of one tensor."""

    def update(self, values: Array) -> None:
        """Take in one batch, of any shape.

        Raises
        ------
        CalibrationError: a value is NaN or infinite.
        """
        ...

    def range(self) -> Range:
        """(low, high) that the quantised tensor should span; low <= 0 <= high is not promised.

        Raises
        ------
        CalibrationError: nothing was observed.
        """
        ...


class Histogram:
    """Counts of values in `2 * BINS` equal bins over [-limit, limit]; the limit doubles when a value lies outside.

    Doubling merges neighbouring bins exactly, so the counts do not depend on the order of the batches beyond the first
    one's magnitude, and memory never grows.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * BINS, np.int64)
        self.limit = 0.0
        self.low = math.inf
        self.high = -math.inf

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def update(self, values: Array) -> None:
        """Count one batch of any shape."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CalibrationError("values that are no numbers", wanted="finite values", got=f"{low} to {high}")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach(max(-low, high))
        # float32 values times this scale would round across an edge; numpy.histogram on float64 edges is ten times slower.
        places = np.multiply(values.ravel(), BINS / self.limit, dtype=np.float64)
        np.add(places, BINS, out=places)
        bins = np.clip(places.astype(np.intp), 0, 2 * BINS - 1)  # the upper limit itself belongs to the last bin
        self.counts += np.bincount(bins, minlength=2 * BINS)

    def _reach(self, magnitude: float) -> None:
        if self.limit == 0.0:
            self._start(magnitude)
        while magnitude > self.limit:
            inner = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[BINS // 2 : BINS // 2 + BINS] = inner
            self.limit *= 2

    def _start(self, magnitude: float) -> None:
        # A tensor that is zero throughout still needs a bin width; the smallest normal float32 keeps the division finite.
        self.limit = max(magnitude, float(np.finfo(np.float32).tiny))

    def magnitudes(self) -> NDArray[np.int64]:
        """Counts of |value| in `BINS` equal bins over [0, limit]."""
        return self.counts[BINS:] + self.counts[:BINS][::-1]

    def quantile(self, share: float) -> float:
        """The value below which `share` of the values lie, linear inside a bin."""
        below = np.cumsum(self.counts)
        target = share * below[-1]
        place = int(np.searchsorted(below, target, side="left"))
        before = int(below[place - 1]) if place else 0
        inside = (target - before) / max(1, int(self.counts[place]))
        value = float(((place + inside) / BINS - 1) * self.limit)
        return min(max(value, self.low), self.high)

    def require_values(self) -> None:
        if self.low > self.high:
            raise CalibrationError("nothing was observed", wanted="at least one batch", got=0)


class _OnHistogram:
    """An observer whose answer follows from a histogram, its own or a shared one."""

    def __init__(self, histogram: Histogram | None = None) -> None:
        self.histogram = histogram or Histogram()

    def update(self, values: Array) -> None:
        """See `Observer.update`."""
        self.histogram.update(values)

    def range(self) -> Range:
        """See `Observer.range`."""
        self.histogram.require_values()
        return self._range()

    def _range(self) -> Range:
        raise NotImplementedError


class MinMax(_OnHistogram):
    """From the lowest to the highest value: nothing is clipped, and one outlier coarsens everything."""

    def _range(self) -> Range:
        return self.histogram.low, self.histogram.high


class Percentile(_OnHistogram):
    """Leaves out `100 - percentile` percent of the values, half of them at either end."""

    def __init__(self, percentile: float, histogram: Histogram | None = None) -> None:
        super().__init__(histogram)
        if not 50 < percentile <= 100:
            raise OptionError("percentile out of range", wanted="above 50, at most 100", got=percentile)
        self.percentile = percentile

    def _range(self) -> Range:
        tail = (1 - self.percentile / 100) / 2
        return self.histogram.quantile(tail), self.histogram.quantile(1 - tail)


class Entropy(_OnHistogram):
    """The clip whose 128 levels lose least information, by KL divergence.

    Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017, pages 38 to 45: of all clips of a histogram of |value|, the
    one where the clipped distribution P and its 128-level version Q differ least. The bin at zero takes its neighbour's
    count, as NVIDIA's pytorch-quantization has it: behind a ReLU it holds half of all values, which cost nothing at any
    clip and would drown the rest.
    """

    def _range(self) -> Range:
        counts = self.histogram.magnitudes()
        counts[0] = counts[1]
        clip = best_clip(counts) * self.histogram.limit / BINS
        return max(self.histogram.low, -clip), min(self.histogram.high, clip)


def best_clip(counts: NDArray[np.int64], levels: int = LEVELS) -> int:
    """How many of the bins to keep, `levels` to len(counts): the least KL(P, Q)."""
    last = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else levels
    sizes = range(levels, max(last, levels) + 1)
    tails = counts.sum() - np.cumsum(counts)
    divergences = [_divergence(counts[:size], int(tails[size - 1]), levels) for size in sizes]
    return sizes[int(np.argmin(divergences))]


def _divergence(inside: NDArray[np.int64], outliers: int, levels: int) -> float:
    """KL(P, Q): P is `inside` with the outliers on its last bin, Q spreads each level's count over its occupied bins."""
    p = inside.astype(np.float64)
    p[-1] += outliers
    edges = np.arange(levels) * len(inside) // levels
    occupied = p > 0
    sums = np.add.reduceat(inside.astype(np.float64), edges)
    held = np.add.reduceat(occupied.astype(np.float64), edges)
    widths = np.diff(np.append(edges, len(inside)))
    q = np.repeat(sums / np.maximum(held, 1), widths)
    # A bin that only outliers fill has Q = 0; a small floor keeps its cost large and finite.
    q = np.maximum(q[occupied] / max(sums.sum(), 1.0), 1e-12)
    share = p[occupied] / p.sum()
    return float(np.sum(share * np.log(share / q)))


Factory = Callable[[Histogram], Observer]

METHODS: dict[str, Factory] = {
    "minmax": MinMax,
    "percentile-99.99": lambda histogram: Percentile(99.99, histogram),
    "percentile-99.9": lambda histogram: Percentile(99.9, histogram),
    "entropy": Entropy,
}
"""Name -> observer on a shared histogram, in the order in which a tie is decided."""


def symmetric_weight_scales(weight: Array, axis: int) -> NDArray[np.float32]:
    """max |weight| / 127 of each channel along `axis`; 1 for a channel of zeros.

    A weight (64, 3, 5) with axis 0 gives (64,): one scale for each output channel.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    largest = np.abs(weight).max(axis=others)
    return np.where(largest > 0, largest / np.float32(127), 1).astype(np.float32)
