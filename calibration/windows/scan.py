"""One look at every window of a recording before it calibrates anything: how many there are, what they are like, what is odd.

A few numbers are kept of each window, and none of its samples.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind.calibration.windows import recordings
from edgebind.calibration.windows.strata import ASPECTS
from edgebind.errors import EdgebindError
from edgebind.manifest import WindowSpec
from edgebind.signals import Window
from edgebind.sources.units import Units

SATURATED_PIXELS = 0.1
"""Share of a frame's pixels at the lowest or highest value, above which it counts as cut off: pictures have some."""
SETTLE_S = 0.4
"""Over so many seconds acceleration is averaged to see where down is: steps and motors are over by then."""
STANDING = 1e-12
"""Sum of squares of the rad/s of a sensor that stands still: more than rounding makes, less than any noise."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What was seen of one recording."""

    name: str
    aspects: NDArray[np.float64]
    """(windows, aspects), see `edgebind.calibration.windows.strata`."""
    start_ns: NDArray[np.int64]
    stop_ns: NDArray[np.int64]
    digests: NDArray[np.uint64]
    """Of each window's samples: equal ones are equal windows, but for blank ones."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """(channels,): least and greatest value; of pictures and sounds one of all, of prompts none."""
    still: NDArray[np.int64]
    """(channels,): windows in which the channel has one value throughout."""
    saturated: int = 0
    """Windows that touch the sensor's limit."""
    blank: int = 0
    """Windows with one value throughout: silence, a covered lens."""
    dtype: str = ""
    turning: float | None = None
    """How fast gravity turns in the sensor's axes by its accelerometer, over how fast by its gyroscope; see `_Turning`."""
    fault: EdgebindError | None = None
    """Why the recording could not be read to its end; nothing else of it counts then."""

    def __len__(self) -> int:
        return len(self.aspects)


def scan(name: str, path: Path, modality: str, spec: WindowSpec, units: Units | None = None) -> Scan:
    """Look at every window of the recording at `path`; a fault in it is part of the answer."""
    looker = _Looker(name, modality, spec)
    try:
        for window in recordings.windows(path, modality, spec, units):
            looker.look(window)
    except EdgebindError as error:
        return looker.seen(error)
    return looker.seen()


class _Looker:
    def __init__(self, name: str, modality: str, spec: WindowSpec) -> None:
        self._name, self._aspects = name, ASPECTS[modality]
        self._has_channels, self._is_text = modality == "imu", modality == "text"
        # The zeros of a depth camera are holes, where it measured nothing.
        is_camera = modalities.get(modality).is_camera
        self._limit = math.inf if modality == "depth" else SATURATED_PIXELS if is_camera else 0.0
        self._turning = _Turning(spec.rate_hz) if modality == "imu" else None
        self._values, self._starts, self._stops, self._digests = array("d"), array("q"), array("q"), array("Q")
        self._low, self._high, self._still = np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
        self._saturated, self._blank, self._dtype = 0, 0, ""

    def look(self, window: Window) -> None:
        samples = np.asarray(window.samples)
        self._values.extend(aspect.of(samples) for aspect in self._aspects)
        self._starts.append(window.start_ns)
        self._stops.append(window.stop_ns)
        self._saturated += window.quality.saturated > self._limit
        self._dtype = self._dtype or samples.dtype.name
        is_blank = not self._is_text and self._span(samples)
        self._blank += is_blank
        # Silence is silence: of all that is blank, none repeats another.
        seen = f"{self._name} {len(self._starts)}".encode() if is_blank else np.ascontiguousarray(samples).tobytes()
        self._digests.append(int.from_bytes(hashlib.blake2b(seen, digest_size=8).digest(), "little"))
        if self._turning is not None:
            self._turning.look(samples)

    def _span(self, samples: Array) -> bool:
        """Take in the range of each channel; returns whether all of them have but one value."""
        if not self._has_channels:  # pictures may be grey or coloured, sounds mono or stereo, in one recording
            samples = samples.reshape(1, -1)
        low, high = np.nanmin(samples, axis=1).astype(np.float64), np.nanmax(samples, axis=1).astype(np.float64)
        if not len(self._low):
            self._low, self._high, self._still = low, high, np.zeros(len(low), np.int64)
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self._still += low == high
        return bool((low == high).all())

    def seen(self, fault: EdgebindError | None = None) -> Scan:
        return Scan(
            self._name,
            np.frombuffer(self._values, np.float64).reshape(-1, len(self._aspects)),
            np.frombuffer(self._starts, np.int64),
            np.frombuffer(self._stops, np.int64),
            np.frombuffer(self._digests, np.uint64),
            self._low,
            self._high,
            self._still,
            self._saturated,
            self._blank,
            self._dtype,
            self._turning.ratio if self._turning is not None else None,
            fault,
        )


class _Turning:
    """Whether accelerometer and gyroscope agree about how fast the sensor turns.

    Where down lies, u, turns in the sensor's axes as du/dt = u x w. Real recordings of people (phone and watch) and of a
    wheeled robot, 248 in all, give |du/dt| / |u x w| of 0.39 to 21, since shaking adds to the numerator only; a gyroscope in deg/s that is
    read as rad/s gives 57 times less.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate, self._width = rate_hz, max(2, round(SETTLE_S * rate_hz))
        self._by_gravity = self._by_gyroscope = 0.0

    def look(self, samples: Array) -> None:
        width = self._width
        if samples.shape[1] < 3 * width:
            return
        acc, gyro = _averaged(samples[:3], width), _averaged(samples[3:6], width)
        down = acc / np.maximum(np.linalg.norm(acc, axis=0), 1e-9)
        turned = (down[:, width:] - down[:, :-width]) * (self._rate / width)
        middle = slice(width // 2, width // 2 + turned.shape[1])
        expected = np.cross(down[:, middle], gyro[:, middle], axis=0)
        self._by_gravity += float(np.square(turned).sum())
        self._by_gyroscope += float(np.square(expected).sum())

    @property
    def ratio(self) -> float | None:
        """None where one of the two has seen nothing, as of an accelerometer that says the same all the time."""
        if min(self._by_gravity, self._by_gyroscope) < STANDING:
            return None
        return float(np.sqrt(self._by_gravity / self._by_gyroscope))


def _averaged(values: Array, width: int) -> NDArray[np.float64]:
    """Mean of each `width` neighbouring samples: (channels, n) -> (channels, n - width + 1)."""
    sums = np.cumsum(np.pad(values.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    return (sums[:, width:] - sums[:, :-width]) / width
