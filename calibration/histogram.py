"""The summary of one tensor that all observers share: a histogram that grows with its values, and never in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import CalibrationError, OptionError

BINS = 2048
"""Bins on either side of zero."""
SMOOTHING = 0.01
"""Weight of the newest batch in the moving average of the extremes, as PyTorch and ONNX Runtime have it."""

Array = NDArray[Any]
Range = tuple[float, float]


class Histogram:
    """Counts of values in `2 * BINS` equal bins over [-limit, limit]; the limit doubles when a value lies outside.

    Doubling merges neighbouring bins exactly, so the counts do not depend on the order of the batches beyond the first
    one's magnitude, and memory never grows.
    """

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        """An empty one.

        Parameters
        ----------
        smoothing: weight of the newest batch in `smoothed`, above 0 and at most 1.

        Raises
        ------
        OptionError: it is not.
        """
        if not 0 < smoothing <= 1:
            raise OptionError("smoothing out of range", wanted="above 0, at most 1", got=smoothing)
        self.counts = np.zeros(2 * BINS, np.int64)
        self.limit = 0.0
        self.low = math.inf
        self.high = -math.inf
        self.smoothed: Range | None = None
        """Exponential moving average of each batch's lowest and highest value."""
        self._smoothing = smoothing

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def update(self, values: Array) -> None:
        """Count one batch of any shape.

        Raises
        ------
        CalibrationError: a value is NaN or infinite.
        """
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CalibrationError("values that are no numbers", wanted="finite values", got=f"{low} to {high}")
        self._extend(low, high)
        self._reach(max(-low, high))
        # float32 values times this scale would round across an edge; numpy.histogram on float64 edges is ten times slower.
        places = np.multiply(values.ravel(), BINS / self.limit, dtype=np.float64)
        np.add(places, BINS, out=places)
        bins = np.clip(places.astype(np.intp), 0, 2 * BINS - 1)  # the upper limit itself belongs to the last bin
        self.counts += np.bincount(bins, minlength=2 * BINS)

    def _extend(self, low: float, high: float) -> None:
        self.low, self.high = min(self.low, low), max(self.high, high)
        old_low, old_high = self.smoothed or (low, high)
        self.smoothed = old_low + self._smoothing * (low - old_low), old_high + self._smoothing * (high - old_high)

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

    def within(self, clip: float) -> Range:
        """(low, high) of what was seen, cut at -clip and +clip."""
        return max(self.low, -clip), min(self.high, clip)

    def require_values(self) -> None:
        """Refuse to say anything of nothing.

        Raises
        ------
        CalibrationError: no value was counted.
        """
        if self.low > self.high:
            raise CalibrationError("nothing was observed", wanted="at least one batch", got=0)
