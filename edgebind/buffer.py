"""The latest samples of a signal, end to end in one array that is moved now and then and never grows without bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebind.signals import Floats, Times


class Buffer:
    """Stamps and samples from number `first` up to, not including, `end`."""

    def __init__(self, channels: int) -> None:
        """Room for samples of so many `channels`."""
        self.times: Times = np.zeros(0, np.int64)
        self.samples: Floats = np.zeros((channels, 0), np.float32)
        """(channels, n), as windows are: what is cut from it lies in memory as it must."""
        self.first = 0
        """Where the samples still needed begin."""
        self.end = 0
        self.latest = 0
        """Stamp of the last sample; 0 when there is none."""

    def append(self, times: Times, samples: Floats) -> None:
        """Take (n,) stamps and (n, channels) samples."""
        stop = self.end + len(times)
        if stop > len(self.times):
            self._make_room(len(times))
            stop = self.end + len(times)
        self.times[self.end : stop] = times
        self.samples[:, self.end : stop] = samples.T
        self.end = stop
        self.latest = int(times[-1])

    def _make_room(self, extra: int) -> None:
        kept = slice(self.first, self.end)
        count = self.end - self.first
        times, samples = self.times[kept], self.samples[:, kept]
        self.times = np.empty(2 * (count + extra) + 1024, np.int64)
        self.samples = np.empty((len(samples), len(self.times)), np.float32)
        self.times[:count] = times
        self.samples[:, :count] = samples
        self.first, self.end = 0, count

    def index(self, moment: int) -> int:
        """Number of the first sample stamped at `moment` or later; `end` if there is none."""
        return int(self.times[: self.end].searchsorted(moment))

    def indices(self, moments: Times) -> NDArray[np.int64]:
        """The same for any number of moments."""
        return self.times[: self.end].searchsorted(moments)
