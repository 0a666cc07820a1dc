"""Signals whose every window is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebind.signals import NANOSECONDS, Floats, Times
from tests.recordings import stamps

MS = 1_000_000


def sines(times_s: NDArray[np.float64], hz: float = 2.0) -> Floats:
    """(n, 6): one sine on six channels, of another phase each."""
    phases = np.arange(6) / 6
    values: Floats = np.sin(2 * np.pi * (hz * times_s[:, None] + phases)).astype(np.float32)
    return values


def on_grid(start_ns: int, length: int = 300, rate: float = 100.0, hz: float = 2.0) -> Floats:
    values: Floats = sines(start_ns / NANOSECONDS + np.arange(length) / rate, hz).T
    return values


def batched(count: int, size: int, rate_hz: float = 100.0) -> Times:
    """Stamps of samples that are sent, and stamped, `size` at a time when the last of them was taken."""
    number = np.arange(count)
    stamped: Times = stamps(count, rate_hz)[np.minimum((number // size + 1) * size - 1, count - 1)]
    return stamped
