"""Thermal pictures: grey levels, counts or °C -> what a thermal tower reads.

Three kinds of frames come out of thermal cameras, and the dtype tells them apart:

    uint8    the camera's own grey levels (AGC): x / 255, as ImageBind read LLVIP
    uint16   counts, linear in radiance or in temperature: mapped by `low` and `high`, in counts
    float    °C: mapped by `low` and `high`, in °C

A range that is fixed keeps a temperature at the same grey level from frame to frame; prefer it where the scene's range
is known. Without one, each frame spans from its own low to its own high percentile, as the camera's AGC would do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.preprocess import checks, config, images
from edgebind.preprocess.checks import Array
from edgebind.preprocess.tail import Tail

Floats = NDArray[np.float32]

NORMALISATIONS = ("none", "robust", "standard")
RESIZES = (*images.RESIZES, "by-size")

KELVIN_AT_ZERO_CELSIUS = 273.15

LARGEST = 1e6
"""Magnitude of a float that may still be °C or a count."""

# Percentiles of a frame need no more pixels than this; a full 640 x 512 sort would cost more than the resize.
_ENOUGH = 16_384


@dataclass(frozen=True)
class ThermalPreprocessor:
    """Frame -> [0, 1] -> square -> optionally contrast of its own -> `(x - mean) / std`.

    The defaults are ImageBind's thermal input: grey in [0, 1], bicubic short side 224, centre crop, no mean and std
    (published reproductions on LLVIP: 62.4 % without them, 55.2 % with CLIP's).
    """

    kind: str = field(default="thermal", init=False)
    size: int = 224
    """Pixels: side of the square."""
    low: float | None = None
    """Becomes 0: °C for float frames, counts for uint16; unused for 8-bit. Both `low` and `high`, or neither."""
    high: float | None = None
    """Becomes 1."""
    percentiles: tuple[float, float] = (1.0, 99.0)
    """Of one frame: what becomes 0 and 1 without `low` and `high`, and the span that "robust" divides by."""
    resize: str = "short-side"
    """"short-side", "letterbox" or "squash": see `images.resized`; "by-size": small pictures stay small in the square, for a
    camera that always looks from about as far, to which a small thing is another thing: see `images.by_size`."""
    full: float = 96.0
    """Pixels: long side of a picture that fills the square under "by-size"."""
    normalise: str = "none"
    """"none"; "robust": (x - median) / ((high percentile - low percentile) / 2 + epsilon); "standard": (x - mean of the
    frame) / (its standard deviation + epsilon). The last two are then limited to ±`clip`."""
    epsilon: float = 0.02
    """Keeps the noise of a flat scene small under "robust" and "standard"; in the unit of the resized frame, which is [0, 1] for 8-bit
    frames and with `low` and `high`, and the frame's own unit (°C, counts) otherwise."""
    clip: float = 3.0
    """Largest magnitude after "robust" and "standard"."""
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        config.demand(config.is_size(self.size), "size", "a positive whole number", self.size)
        config.demand(self.resize in RESIZES, "resize", " or ".join(RESIZES), self.resize)
        config.demand(self.normalise in NORMALISATIONS, "normalise", " or ".join(NORMALISATIONS), self.normalise)
        self._check_range()
        for name, value in (("epsilon", self.epsilon), ("clip", self.clip), ("std", self.std), ("full", self.full)):
            config.demand(config.is_real(value) and value > 0, name, "a positive number", value)
        config.demand(config.is_real(self.mean), "mean", "a finite number", self.mean)

    def _check_range(self) -> None:
        given = (self.low, self.high)
        ordered = given == (None, None) or (config.is_real(*given) and given[0] < given[1])  # type: ignore[operator]
        config.demand(ordered, "low and high", "two numbers, low < high, or both null", given)
        pair = self.percentiles
        fits = len(pair) == 2 and config.is_real(*pair) and 0 <= pair[0] < pair[1] <= 100
        config.demand(fits, "percentiles", "two numbers, 0 <= low < high <= 100", pair)

    def __call__(self, samples: Array) -> Floats:
        """(height, width) uint8, uint16 or °C in float -> float32 (1, size, size).

        A third axis of one channel is dropped, one of three equal channels is read as grey.

        Raises
        ------
        RecordingError: another shape or dtype, NaN, false colour, nothing in it, or all of it far outside the range.
        """
        picture = self._resized(self._mapped(thermal_frame(samples)))
        if picture.dtype == np.uint8:
            picture = picture.astype(np.float32) / np.float32(255)
        unit = np.clip(picture, 0.0, 1.0) if self.normalise == "none" else self._stretched(picture)
        scaled: Floats = (unit - np.float32(self.mean)) / np.float32(self.std)
        return images.centred(scaled, self.size)[None]

    # What an engine for 8-bit frames does itself. Not unasked, because a camera may send counts or °C.
    is_always_8_bit: ClassVar[bool] = False

    @property
    def tail(self) -> Tail | None:
        """What is done to 8-bit pixels in the end; None where it depends on the whole frame."""
        if self.normalise != "none" or self.resize == "by-size":
            return None
        return Tail(self.size, (self.mean,), (self.std,), self.resize)

    def pixels(self, samples: Array) -> NDArray[np.uint8]:
        """What `tail` makes the input of: uint8 (size, size, 1). Samples and errors are those of a call, and they must be grey levels."""
        return images.resized(self.frame(samples)[:, :, 0], self.size, self.resize)[:, :, None]

    def frame(self, samples: Array) -> NDArray[np.uint8]:
        """What is resized: uint8 (height, width, 1).

        Raises
        ------
        RecordingError: as from a call, or counts or °C.
        """
        frame = thermal_frame(samples)
        if frame.dtype != np.uint8:
            remedy = "--backend tensorrt-floats takes counts and °C"
            raise RecordingError("the engine was built for 8-bit frames", got=frame.dtype, remedy=remedy)
        return frame[:, :, None]

    def _resized(self, picture: Array) -> Array:
        """A square, except under "by-size": there, what is around the picture must not count for its contrast."""
        if self.resize == "by-size":
            return images.by_size(picture, self.size, self.full)
        return images.resized(picture, self.size, self.resize)

    def _mapped(self, frame: Array) -> Array:
        """The frame as it goes into the resize: uint8, or float32 in [0, 1], or float32 in its own unit."""
        stretched = self.normalise != "none"
        if frame.dtype == np.uint8:
            # Pillow rounds 8-bit pictures to whole levels: right for parity, too coarse for contrast to be stretched.
            return frame.astype(np.float32) / np.float32(255) if stretched else frame
        values = checks.finite(frame, "thermal frame")
        _refuse_unbelievable(values)
        if self.low is not None and self.high is not None:
            _refuse_far_outside(values, self.low, self.high)
            return _to_unit(values, self.low, self.high)
        # Stretching measures its own span; clipping at percentiles before it would flatten small hot things for nothing.
        return values if stretched else _to_unit(values, *self._span(values))

    def _span(self, values: Floats) -> tuple[float, float]:
        low, high = np.percentile(_sparse(values), self.percentiles)
        return float(low), float(high)

    def _stretched(self, square: Floats) -> Floats:
        middle, spread = self._standard(square) if self.normalise == "standard" else self._robust(square)
        scaled = (square - np.float32(middle)) / np.float32(spread + self.epsilon)
        limited: Floats = np.clip(scaled, -self.clip, self.clip)
        return limited

    def _robust(self, square: Floats) -> tuple[float, float]:
        low, middle, high = np.percentile(_sparse(square), (self.percentiles[0], 50.0, self.percentiles[1]))
        return float(middle), float(high - low) / 2

    def _standard(self, square: Floats) -> tuple[float, float]:
        return float(square.mean()), float(square.std())

    def to_dict(self) -> dict[str, object]:
        """The `preprocess` dictionary of a manifest."""
        return config.to_dict(self)


def thermal_frame(samples: object) -> Array:
    """`samples` as a (height, width) array of uint8, uint16 or float."""
    array = checks.numeric(samples, "thermal frame")
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8:
        return images.grey_from_rgb(array)
    frame = checks.frame(array, "thermal frame")
    if frame.dtype not in (np.uint8, np.uint16) and frame.dtype.kind != "f":
        raise RecordingError(
            "thermal frame has another dtype", wanted="uint8 levels, uint16 counts or float °C", got=frame.dtype
        )
    return frame


def _sparse(values: Floats) -> Floats:
    """Every nth pixel each way, so that few enough are left to sort."""
    step = int(np.ceil(np.sqrt(values.size / _ENOUGH)))
    return values[::step, ::step]


def _to_unit(values: Floats, low: float, high: float) -> Floats:
    if high <= low:  # a flat frame: nothing to stretch
        return np.zeros_like(values)
    scaled: Floats = values - np.float32(low)
    scaled *= np.float32(1 / (high - low))
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def _refuse_unbelievable(values: Floats) -> None:
    """Refuse what no camera writes; the contrast of such a frame would be infinite."""
    largest = max(float(values.max()), -float(values.min()))
    if largest > LARGEST:
        raise RecordingError("thermal frame cannot be true", wanted=f"values up to {LARGEST:g}", got=f"{largest:g}")


def _refuse_far_outside(values: Floats, low: float, high: float) -> None:
    """A frame beyond the range by more than the range's own width is in another unit, not of a warm scene."""
    coldest, hottest = float(values.min()), float(values.max())
    if coldest > 2 * high - low or hottest < 2 * low - high:
        raise RecordingError(
            "thermal frame lies far outside the range",
            wanted=f"{low:g} to {high:g}",
            got=f"{coldest:g} to {hottest:g}",
            remedy="the bundle's range is in °C? Say --units thermal=cK (or K, dK); in Python, celsius_from_centikelvin",
        )


def celsius_from_centikelvin(counts: Array) -> Floats:
    """°C, float32, of a radiometric frame in hundredths of a kelvin (FLIR Lepton with TLinear at 0.01 K), any shape.

    Raises
    ------
    RecordingError: no whole numbers, or none at all.
    """
    array = checks.whole(counts, "centikelvin frame", "whole counts")
    # In float64: a float32 would round counts near 30000 to 0.002 K before the offset is taken away.
    return (np.multiply(array, 0.01, dtype=np.float64) - KELVIN_AT_ZERO_CELSIUS).astype(np.float32)
