"""Can these samples be true? One line for each way in which a recording can lie about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import clock
from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Floats, Times
from edgebind.sources.columns import CHANNELS
from edgebind.sources.units import STANDARD_GRAVITY, TIME

LARGEST = {"acc": (2000.0, "m/s²", "more than 200 g"), "gyro": (70.0, "rad/s", "in deg/s? then say --units gyro=deg/s")}
"""What no such sensor reports: largest magnitude, unit, what it usually means."""
LEAST_GRAVITY = 3.0
"""m/s²: a sensor on this planet reads more, but for moments of free fall; the median of a recording is no moment."""
MOST_GRAVITY = 400.0
"""m/s²: nothing stays at 40 g; milli-g and cm/s² read as m/s² look like this."""
SLOWEST = 0.4
"""Of the bundle's rate. Below it, what the encoder was trained to see is not in the signal..."""
QUICK = 40.0
"""Hz: ...but no more than this is asked for. Bodies and vehicles move below 20 Hz, and a common 100 Hz sensor must do for a
tower of 400 Hz."""
FASTEST = 50_000.0
"""Hz: no inertial sensor is faster; the unit of time is wrong."""
ENOUGH = 4096
"""Samples that show a recording's rate."""
FURTHEST = 1 << 62
"""Nanoseconds, 146 years, before and after 1970: between two such stamps is a distance that 64 bits still hold."""

REMEDY_OF_TIME = "if the unit of time is wrong, say --units time=ms (or s, us, ns)"

Line = Callable[[int], str]
"""Row of a block -> where it stands, for people."""


@dataclass
class Plausible:
    """Checks a signal block by block; keeps the last time in between."""

    spec: WindowSpec
    where: str
    """The file."""
    stated: frozenset[str] = frozenset()
    """Quantities whose unit the user gave: obeyed, so that only the impossible is refused."""
    in_g: bool = False
    """Whether acceleration was converted from g."""
    remedy: str = REMEDY_OF_TIME
    """What to say where the rate cannot be true."""
    _first: int | None = None
    _last: int | None = None
    _period: float = 0.0

    def check(self, times: Times, samples: Floats, line: Line) -> None:
        """Refuse a block that cannot be true.

        Parameters
        ----------
        times: (n,) nanoseconds.
        samples: (n, channels) SI.
        line: where row i of this block stands, for the message.

        Raises
        ------
        RecordingError: NaN, infinity, time going backwards, a rate or values out of physical range.
        """
        if not len(times):
            return
        self._finite(samples, line)
        self._forward(times, line)
        if self._first is None:
            self._rate(times)
            self._gravity(samples)
            self._first = int(times[0])
        self._magnitudes(samples, line)
        self._last = int(times[-1])

    def finish(self) -> None:
        """Refuse a recording without rows, or with less than one window.

        Raises
        ------
        RecordingError: too short.
        """
        if self._first is None or self._last is None:
            raise RecordingError("no samples", where=self.where, wanted="at least one window", got="0 rows")
        seconds = (self._last - self._first + max(self._period, NANOSECONDS / self.spec.rate_hz)) / NANOSECONDS
        if seconds < self.spec.seconds - 0.5 / self.spec.rate_hz:
            raise RecordingError(
                "shorter than one window", where=self.where, wanted=f"{self.spec.seconds:g} s", got=f"{seconds:.3g} s"
            )

    def _finite(self, samples: Floats, line: Line) -> None:
        bad = ~np.isfinite(samples)
        if bad.any():
            row, channel = (int(found) for found in np.argwhere(bad)[0])
            got = f"{samples[row, channel]} in {self.spec.channels[channel]}"
            raise RecordingError("not a number", where=line(row), wanted="finite values", got=got)

    def _forward(self, times: Times, line: Line) -> None:
        back = np.flatnonzero(times[1:] < times[:-1])
        if self._last is not None and times[0] < self._last:
            raise self._backwards(line(0), self._last - int(times[0]))
        if len(back):
            row = int(back[0]) + 1
            raise self._backwards(line(row), int(times[row - 1] - times[row]))

    def _backwards(self, where: str, by: int) -> RecordingError:
        return RecordingError("time goes backwards", where=where, got=f"{by / NANOSECONDS:g} s before the row above")

    def _rate(self, times: Times) -> None:
        if len(times) < clock.FEW:
            return
        self._period = clock.straighten(times[:ENOUGH]).period
        rate = NANOSECONDS / self._period if self._period > 0 else np.inf
        slowest = min(SLOWEST * self.spec.rate_hz, QUICK)
        wanted = f"at least {slowest:g} Hz for this bundle's {self.spec.rate_hz:g} Hz"
        if rate < slowest:
            raise RecordingError(
                "sampled too slowly", where=self.where, wanted=wanted, got=f"{rate:.4g} Hz", remedy=self.remedy
            )
        if rate > FASTEST:
            got = f"{rate:.4g} Hz" if np.isfinite(rate) else "the same time in every row"
            raise RecordingError("no sensor is that fast", where=self.where, wanted=wanted, got=got, remedy=self.remedy)

    def _gravity(self, samples: Floats) -> None:
        columns = _columns(self.spec.channels, "acc")
        if len(columns) != 3:
            return
        # In float64, where the square of no float32 is too large.
        median = float(np.median(np.linalg.norm(samples[:, columns].astype(np.float64), axis=1)))
        fault = _fault_of_gravity(median, in_g=self.in_g, stated="acc" in self.stated)
        if fault:
            raise RecordingError(
                "acceleration out of physical range",
                where=self.where,
                wanted=f"about {STANDARD_GRAVITY:.2f} m/s² at rest, gravity included",
                got=f"a median of {median:.3g} m/s²",
                remedy=fault,
            )

    def _magnitudes(self, samples: Floats, line: Line) -> None:
        for quantity, (largest, unit, meaning) in LARGEST.items():
            columns = _columns(self.spec.channels, quantity)
            values: NDArray[np.float32] = np.abs(samples[:, columns])
            if values.size and values.max() > largest:
                row = int(np.argmax(values.max(axis=1) > largest))
                got = f"{values[row].max():.4g} {unit}, {meaning}"
                raise RecordingError(
                    "out of physical range", where=line(row), wanted=f"at most {largest:g} {unit}", got=got
                )


def refuse_far_times(stamps: NDArray[Any], unit: str, line: Line) -> None:
    """Refuse stamps that would not fit in nanoseconds.

    Parameters
    ----------
    stamps: (n,) finite numbers in `unit`.
    line: where row i of these stands, for the message.

    Raises
    ------
    RecordingError: one is further from 1970 than `FURTHEST`.
    """
    far = np.flatnonzero(np.abs(stamps.astype(np.float64)) >= FURTHEST / TIME[unit])
    if len(far):
        got = f"{float(stamps[far[0]]):.6g} {unit}"
        raise RecordingError(
            "no time of a recording",
            where=line(int(far[0])),
            wanted="at most 146 years from 1970",
            got=got,
            remedy=REMEDY_OF_TIME,
        )


def _columns(channels: Sequence[str], quantity: str) -> list[int]:
    return [index for index, name in enumerate(channels) if CHANNELS.get(name, ("", 0))[0] == quantity]


def _fault_of_gravity(median: float, *, in_g: bool, stated: bool) -> str | None:
    """What the median magnitude of acceleration says about its unit: advice, or None if it can be true."""
    if in_g and 0.9 < median / STANDARD_GRAVITY**2 < 1.1:
        return "the numbers look like m/s² already: say --units acc=m/s2"
    if median > MOST_GRAVITY:
        return "in mg? then say --units acc=mg"
    if stated or median >= LEAST_GRAVITY:
        return None
    if 0.5 < median < 2:
        return "in g? then say --units acc=g; if gravity was taken out, record it with gravity"
    return "if the unit is another, say --units acc=UNIT; if gravity was taken out, record it with gravity"
