"""What a window looks like in its sensor's own units, in a handful of numbers.

    signals     gravity (IMU), level of every channel that is no rotation, spread of every channel
    sound       spread
    cameras     level, spread and detail of each colour
    prompts     nothing

Spreads, details and gravity are logarithms, so that a gain is a shift whatever the sensor's unit. The level of a rotation
is left out: it is how often the carrier turned, not what the sensor is like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind.signals import Floats, Samples

TINY = 1e-6
"""Keeps the logarithm of a dead channel finite."""
ROWS = 32
"""Rows of a frame that are looked at, evenly spread: they know its level and contrast as well as all of them."""
GRAVITY = "gravity"


class Traits:
    """Measures windows of one sensor."""

    def __init__(self, modality: str, channels: tuple[str, ...], units: tuple[str, ...]) -> None:
        self.modality, self.channels, self.units = modality, channels, units
        self._is_camera = modalities.get(modality).is_camera
        self._levels = [place for place, unit in enumerate(units) if unit != "rad/s" and modality != "audio"]
        self.names = self._names()

    def _names(self) -> tuple[str, ...]:
        if self.modality == "text":
            return ()
        first = (GRAVITY,) if self.modality == "imu" else ()
        levels = tuple(f"level of {self.channels[place]}" for place in self._levels)
        spreads = tuple(f"spread of {channel}" for channel in self.channels)
        details = tuple(f"detail of {channel}" for channel in self.channels) if self._is_camera else ()
        return first + levels + spreads + details

    def __call__(self, windows: Sequence[Samples]) -> Floats:
        """The numbers of `names` of some windows, (windows, n).

        Parameters
        ----------
        windows: (channels, length) of a signal, or (height, width[, colours]) of a frame.
        """
        if not self.names:
            return np.zeros((len(windows), 0), np.float32)
        if self._is_camera:
            return np.stack([self._of_frame(frame) for frame in windows])
        return self._of_signals(np.stack(windows))

    def _of_signals(self, windows: Floats) -> Floats:
        length, firsts = windows.shape[2], windows[:, :, 0]
        apart = windows - windows[:, :, :1]  # else float32 would lose a small spread beside gravity
        shifts = np.add.reduce(apart, axis=2) / length  # (windows, channels)
        variances = np.einsum("nij,nij->ni", apart, apart) / length - shifts * shifts
        levels = firsts + shifts
        found = [levels[:, self._levels], np.log(np.maximum(variances, TINY * TINY)) / 2]
        if self.modality == "imu":
            gravity = np.sqrt(np.einsum("ni,ni->n", levels[:, :3], levels[:, :3]))
            found.insert(0, np.log(np.maximum(gravity, TINY))[:, None])
        return np.concatenate(found, axis=1).astype(np.float32)

    def _of_frame(self, frame: Samples) -> Floats:
        rows = frame[:: max(1, len(frame) // ROWS)].astype(np.float32)
        colours = [rows] if rows.ndim == 2 else list(np.moveaxis(rows, 2, 0))
        if len(colours) != len(self.channels):  # a grey camera that is written in three colours
            colours = [np.mean(colours, axis=0)] * len(self.channels)
        return np.array([_of_picture(colour) for colour in colours], np.float32).T.ravel()


def _of_picture(picture: NDArray[Any]) -> tuple[float, float, float]:
    """Level, log spread, and log of how far neighbours in a row differ, in spreads: the sharpness of the camera."""
    with np.errstate(invalid="ignore"):
        steps = np.abs(np.diff(picture, axis=1))
    values, steps = picture[np.isfinite(picture)], steps[np.isfinite(steps)]
    if not values.size or not steps.size:
        return 0.0, float(np.log(TINY)), 0.0
    spread = max(float(values.std()), TINY)
    return float(values.mean()), float(np.log(spread)), float(np.log(max(float(steps.mean()) / spread, TINY)))
