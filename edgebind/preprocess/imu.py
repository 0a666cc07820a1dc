"""Accelerometer and gyroscope: m/s² and rad/s -> what the IMU tower reads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.preprocess import checks, config

Six = tuple[float, float, float, float, float, float]

STANDARD_GRAVITY = 9.80665
"""m/s², by definition (CGPM 1901)."""

CHANNELS = 6


@dataclass(frozen=True)
class ImuPreprocessor:
    """`(samples - offset) / scale`, channel by channel, companded where `compand` asks, then limited to ±`clip`.

    ImageBind never published its order of channels, its units or its normalisation. The defaults are edgebind's own
    convention, written into every manifest: order ax ay az gx gy gz; acceleration in multiples of standard gravity,
    gravity included; rotation in rad/s as it is. Both are then of the order of one when a person or a robot moves.
    """

    kind: str = field(default="imu", init=False)
    offset: Six = (0.0,) * 6
    """m/s² for the first three channels, rad/s for the last three."""
    scale: Six = (STANDARD_GRAVITY,) * 3 + (1.0,) * 3
    """Same units as `offset`; positive."""
    compand: Six = (0.0,) * 6
    """Where it is not 0, y becomes `compand` x asinh(y): linear below 1, logarithmic above, so that a robot's tremor of
    0.01 rad/s and a wrist's 10 rad/s both leave a mark. Not negative."""
    clip: float | None = None
    """Largest magnitude of an output, without unit; None alters no value."""

    def __post_init__(self) -> None:
        for name, six in (("offset", self.offset), ("scale", self.scale), ("compand", self.compand)):
            config.demand(len(six) == CHANNELS and config.is_real(*six), name, "six finite numbers", six)
        config.demand(min(self.scale) > 0, "scale", "six positive numbers", self.scale)
        config.demand(min(self.compand) >= 0, "compand", "six numbers, none negative", self.compand)
        if self.clip is not None:
            config.demand(config.is_real(self.clip) and self.clip > 0, "clip", "a positive number or null", self.clip)

    def __call__(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """(6, length) in m/s² and rad/s -> float32 (6, length).

        Raises
        ------
        RecordingError: another shape, no samples, no numbers, NaN or infinity.
        """
        window = checks.numeric(samples, "IMU window")
        if window.ndim != 2 or window.shape[0] != CHANNELS:
            raise RecordingError("IMU window has another shape", wanted="(6, length)", got=window.shape)
        # A slice of (length, 6) chunks arrives transposed; a backend binds rows that lie one after another.
        return self._normalise(np.ascontiguousarray(checks.finite(window, "IMU window")))

    def batch(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n, 6, length) in m/s² and rad/s -> float32 (n, 6, length): what n calls would give, in one.

        Raises
        ------
        RecordingError: as for a single window.
        """
        windows = checks.numeric(samples, "IMU windows")
        if windows.ndim != 3 or windows.shape[1] != CHANNELS:
            raise RecordingError("IMU windows have another shape", wanted="(n, 6, length)", got=windows.shape)
        return self._normalise(np.ascontiguousarray(checks.finite(windows, "IMU windows")))

    def _normalise(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 6, length) -> the same shape; `values` stay as they are."""
        scaled = (values - self._offset) * self._gain if any(self.offset) else values * self._gain
        for channels, strength in self._companded:
            part = scaled[..., channels, :]
            np.arcsinh(part, out=part)
            part *= strength
        return scaled if self.clip is None else scaled.clip(-self.clip, self.clip, out=scaled)

    # What follows is worked out once: a window comes twice a second on a robot, and ten thousand times in a benchmark.

    @cached_property
    def _offset(self) -> NDArray[np.float32]:
        return np.asarray(self.offset, np.float32)[:, None]

    @cached_property
    def _gain(self) -> NDArray[np.float32]:
        return (1 / np.asarray(self.scale))[:, None].astype(np.float32)

    @cached_property
    def _companded(self) -> list[tuple[slice, np.float32]]:
        """Runs of neighbouring channels of one strength, above 0."""
        runs, start = [], 0
        for strength, channels in itertools.groupby(self.compand):
            stop = start + len(list(channels))
            if strength > 0:
                runs.append((slice(start, stop), np.float32(strength)))
            start = stop
        return runs

    def to_dict(self) -> dict[str, object]:
        """The `preprocess` dictionary of a manifest."""
        return config.to_dict(self)
