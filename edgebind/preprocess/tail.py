"""The last step of a picture's preprocessing, apart from the others because a GPU may do it too.

A camera's pixels stay 8-bit integers through decoding, resizing and cropping. What comes then is arithmetic on each pixel by
itself: four bytes for one, at a price in time on the host and on the way to the GPU. A preprocessor that ends so says it as a
`Tail`; a backend that can do it by itself then asks for the pixels (`edgebind.engines.pixels`).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

FULL = 255.0
"""The grey level that becomes 1."""


@dataclass(frozen=True, slots=True)
class Tail:
    """`(x / 255 - mean) / std`, channel by channel, and channels first."""

    size: int
    """Pixels: side of the square."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "short-side"
    """How a frame became the square before it, see `images.resized`: for an engine that does this too."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the pixels."""
        return self.size, self.size, len(self.mean)

    @property
    def digest(self) -> str:
        """16 hex digits that stand for its constants."""
        return hashlib.sha256(repr(asdict(self)).encode()).hexdigest()[:16]

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (size, size, channels) -> float32 (channels, size, size)."""
        mean, std = (np.asarray(each, np.float32)[:, None, None] for each in (self.mean, self.std))
        # In float32 by name: NumPy 1 would divide bytes by it in 16 bits.
        scaled: NDArray[np.float32] = np.moveaxis(pixels, 2, 0).astype(np.float32, order="C")
        scaled /= np.float32(FULL)
        scaled -= mean
        scaled /= std
        return scaled
