"""Colour pictures: grey levels -> what the vision tower reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.preprocess import checks, config, images
from edgebind.preprocess.checks import Array
from edgebind.preprocess.tail import Tail

Three = tuple[float, float, float]

CLIP_MEAN: Three = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Three = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI CLIP's constants, which ImageBind's frozen image tower inherits; of values in [0, 1]."""


@dataclass(frozen=True)
class VisionPreprocessor:
    """Bicubic resize and crop on grey levels, then `(x / 255 - mean) / std` for each colour.

    The defaults are ImageBind's: short side 224, centre crop, CLIP's mean and std.
    """

    kind: str = field(default="vision", init=False)
    size: int = 224
    """Pixels: side of the square."""
    resize: str = "short-side"
    """"short-side", "letterbox" or "squash": see `images.resized`."""
    mean: Three = CLIP_MEAN
    std: Three = CLIP_STD
    is_always_8_bit: ClassVar[bool] = True

    def __post_init__(self) -> None:
        config.demand(config.is_size(self.size), "size", "a positive whole number", self.size)
        config.demand(self.resize in images.RESIZES, "resize", " or ".join(images.RESIZES), self.resize)
        for name, three in (("mean", self.mean), ("std", self.std)):
            config.demand(len(three) == 3 and config.is_real(*three), name, "three finite numbers", three)
        config.demand(min(self.std) > 0, "std", "three positive numbers", self.std)

    def __call__(self, samples: Array) -> Array:
        """Grey levels 0..255, (height, width, 3) in the order RGB, or (height, width) -> float32 (3, size, size).

        uint8; whole grey levels in another dtype are taken for what they are.

        Raises
        ------
        RecordingError: another shape, other values, nothing in it.
        """
        return self.tail(self.pixels(samples))

    def pixels(self, samples: Array) -> NDArray[np.uint8]:
        """What `tail` makes the input of: uint8 (size, size, 3), RGB. Samples and errors are those of a call."""
        return images.resized(self.frame(samples), self.size, self.resize)

    def frame(self, samples: Array) -> NDArray[np.uint8]:
        """What is resized: uint8 (height, width, 3), RGB."""
        return grey_levels(samples)

    @cached_property
    def tail(self) -> Tail:
        """What is done to each pixel in the end."""
        return Tail(self.size, self.mean, self.std, self.resize)

    def to_dict(self) -> dict[str, object]:
        """The `preprocess` dictionary of a manifest."""
        return config.to_dict(self)


def grey_levels(samples: object) -> Array:
    """`samples` as uint8 (height, width, 3); a grey picture is repeated for the three colours."""
    picture = checks.numeric(samples, "picture")
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.ndim != 3 or picture.shape[2] not in (1, 3):
        raise RecordingError("picture has another shape", wanted="(height, width, 3) or (h, w)", got=picture.shape)
    picture = _as_uint8(picture)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def _as_uint8(picture: Array) -> Array:
    if picture.dtype == np.uint8:
        return picture
    levels = checks.finite(picture, "picture")
    low, high = float(levels.min()), float(levels.max())
    if low < 0 or high > 255 or not np.array_equal(levels, np.rint(levels)):
        raise RecordingError(
            "picture has other values",
            wanted="whole grey levels 0 to 255",
            got=f"{low:g} to {high:g}",
            remedy="multiply [0, 1] by 255 and round" if 0 <= low <= high <= 1 else None,
        )
    return levels.astype(np.uint8)
