"""Times of recordings that have none, and cutting a recording into the chunks a live sensor would have sent."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgebind import clock
from edgebind.errors import OptionError
from edgebind.signals import NANOSECONDS, Chunk, Times

OTHER_RATE = 0.1
"""Share by which a rate that the user gives may differ from the recording's own times."""


def even_times(first: int, count: int, rate_hz: float) -> Times:
    """Nanoseconds of samples first ... first + count - 1 at an even rate; sample 0 is at 0."""
    return np.round(np.arange(first, first + count) * (NANOSECONDS / rate_hz)).astype(np.int64)


def same_rate(times: Times, rate_hz: float, where: str) -> None:
    """Refuse a rate given by the user that the recording's own times contradict.

    Raises
    ------
    OptionError: they differ by more than `OTHER_RATE`.
    """
    if len(times) < clock.FEW or (times[1:] < times[:-1]).any():
        return
    period = clock.straighten(times[:4096]).period
    own = NANOSECONDS / period if period > 0 else 0.0
    if own and abs(own / rate_hz - 1) > OTHER_RATE:
        raise OptionError(
            "--rate contradicts the recording's own times",
            where=where,
            wanted=f"about {own:.4g} Hz",
            got=f"{rate_hz:g} Hz",
            remedy="leave --rate out",
        )


def pieces(times: Times, samples: NDArray[np.generic], chunk_ns: int, origin: str) -> Iterator[Chunk]:
    """(n,) times and (n, ...) samples -> chunks of about `chunk_ns`; samples of one time stay together."""
    if not len(times):
        return
    number = (times - times[0]) // chunk_ns
    begin = 0
    for end in [*(np.flatnonzero(np.diff(number)) + 1).tolist(), len(times)]:
        yield Chunk(times[begin:end], samples[begin:end], origin)
        begin = end
