"""Observers: what range of values one tensor takes, learnt from a stream of batches in bounded memory.

    MinMax         the whole range
    MovingAverage  the range of a usual batch
    Percentile     all but a few extreme values
    Entropy        the clip that loses least information at 8 bits (KL divergence)
    SquaredError   the clip whose rounding and cutting cost least, together

All read one `Histogram`. Several may share it, so a batch is counted once however many methods are compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration.histogram import BINS, Array, Histogram, Range
from edgebind.errors import OptionError

LEVELS = 128
"""Magnitudes that a symmetric 8-bit integer can hold: 0 to 127."""


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


class _OnHistogram(ABC):
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

    @abstractmethod
    def _range(self) -> Range:
        """The answer, once there is anything to answer from."""


class MinMax(_OnHistogram):
    """From the lowest to the highest value: nothing is clipped, and one outlier coarsens everything."""

    def _range(self) -> Range:
        return self.histogram.low, self.histogram.high


class MovingAverage(_OnHistogram):
    """The extremes of each batch, averaged: mean += smoothing x (batch's - mean), beginning with the first batch's.

    Source: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, section 3.1. One wild batch moves the range by no more than its share; the batches' size and
    order matter, as for no other observer here. The share is the histogram's own.
    """

    def _range(self) -> Range:
        assert self.histogram.smoothed is not None  # `range` has seen to it
        return self.histogram.smoothed


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
        return self.histogram.within(best_clip(counts) * self.histogram.limit / BINS)


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


class SquaredError(_OnHistogram):
    """The clip at which a symmetric 8-bit grid has the least mean squared error: rounding inside, cutting outside.

    A smaller clip rounds finer and cuts more. Source of the trade: R. Banner et al., "Post training 4-bit quantization of
    convolutional networks for rapid-deployment", NeurIPS 2019, section 3; here the error is summed over the histogram itself
    rather than over a distribution that is fitted to it.
    """

    def _range(self) -> Range:
        return self.histogram.within(least_error_clip(self.histogram.magnitudes()) * self.histogram.limit / BINS)


OCTAVES = 10
"""A clip further below the largest value than 2 to this power is not looked for."""


def least_error_clip(counts: NDArray[np.int64], levels: int = LEVELS) -> float:
    """Where to cut a histogram of |value|, in bins: the least squared error of `levels` magnitudes, zero among them.

    Sixteen clips an octave are tried, then as many again around the best: near its minimum the error is flat.
    """
    occupied = np.flatnonzero(counts)
    if not len(occupied):
        return 1.0
    last = float(occupied[-1] + 1)
    coarse = last * np.exp2(-np.arange(16 * OCTAVES) / 16)
    best = coarse[int(np.argmin(squared_errors(counts, coarse, levels)))]
    fine = np.minimum(best * np.exp2(np.arange(-8, 9) / 128), last)
    return float(fine[int(np.argmin(squared_errors(counts, fine, levels)))])


def squared_errors(counts: NDArray[np.int64], clips: NDArray[np.float64], levels: int = LEVELS) -> NDArray[np.float64]:
    """Sum of squared errors of each clip, in bins squared, values spread evenly inside their bin: (clips,).

    With step D and the n-th level nearest to x, the error integrated from 0 to x is n D^3 / 12 + (x - n D)^3 / 3: a whole
    level costs D^3 / 12, and what lies beyond the last one costs the square of its distance.
    """
    occupied = np.flatnonzero(counts)
    steps = clips[:, None] / (levels - 1)

    def integral(edges: NDArray[np.float64]) -> NDArray[np.float64]:
        nearest = np.minimum(np.rint(edges / steps), levels - 1)
        return nearest * steps**3 / 12 + (edges - nearest * steps) ** 3 / 3

    edges = occupied[None].astype(np.float64)
    return (integral(edges + 1) - integral(edges)) @ counts[occupied].astype(np.float64)


Factory = Callable[[Histogram], Observer]

METHODS: dict[str, Factory] = {
    "minmax": MinMax,
    "percentile-99.99": lambda histogram: Percentile(99.99, histogram),
    "percentile-99.9": lambda histogram: Percentile(99.9, histogram),
    "entropy": Entropy,
    "squared-error": SquaredError,
    "moving-average": MovingAverage,
}
"""Name -> observer on a shared histogram, in the order in which a tie is decided."""
