"""How another depth camera would have measured the same scene: its calibration, its noise, and where it measures nothing.

A stereo or structured-light camera measures a disparity, baseline x focal / distance. An error of its baseline or focal length
scales every distance alike; noise of a disparity grows with the square of the distance; what it cannot match has none (0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebind.preprocess.depth import DepthPreprocessor
from edgebind.train import limits
from edgebind.train.data.geometry import Frame, Geometry, draw_geometry

PATCH = (1 / 8, 1 / 3)
"""Share of each side that a surface without distance takes."""


@dataclass(frozen=True)
class DepthAugment:
    """Probabilities and strengths for frames in metres."""

    crop: float = 0.0
    """Largest share of each side that may be cut away."""
    flip: float = 0.0
    """Probability that left and right change places."""
    whole: float = 0.0
    """Probability that nothing is cut away."""
    scale: float = 0.0
    """Standard deviation of the log of a factor of all distances: a baseline or focal length that is not quite what is believed."""
    noise: float = 0.0
    """Pixels of disparity, largest standard deviation; of the `baseline` and `focal` of the node's preprocessing."""
    speckle: float = 0.0
    """Largest share of single pixels that the camera finds no distance for."""
    holes: float = 0.0
    """Probability that a whole patch has none: something dark, shiny or transparent."""

    def __post_init__(self) -> None:
        for name in ("crop", "speckle"):
            limits.share(f"augment.{name}", getattr(self, name), whole=False)
        for name in ("flip", "whole", "holes"):
            limits.share(f"augment.{name}", getattr(self, name))
        for name in ("scale", "noise"):
            limits.at_least(f"augment.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class DepthCamera:
    """An imagined depth camera."""

    how: DepthAugment
    optics: DepthPreprocessor
    """Says what a pixel of disparity is, and how far the camera sees."""
    side: int
    """Pixels that are enough."""

    def measure(self, frame: Frame, rng: np.random.Generator, where: Geometry | None) -> Frame:
        """(height, width) metres; 0 and NaN have no distance, and neither have they afterwards.

        Counts are no metres: preprocessing refuses them, and they are left as they are.
        """
        part = _sparser((where or draw_geometry(self.how, rng)).apply(frame), self.side)
        if part.dtype.kind != "f" or part.ndim != 2:
            return part
        depth = self._measured(part.astype(np.float32), rng)
        self._lose(depth, rng)
        return depth.astype(frame.dtype)

    def _measured(self, depth: Frame, rng: np.random.Generator) -> Frame:
        depth *= np.float32(math.exp(rng.normal(0, self.how.scale)))
        if not self.how.noise:
            return depth
        product = np.float32(self.optics.baseline * self.optics.focal)
        noise = rng.standard_normal(depth.shape, np.float32) * float(rng.uniform(0, self.how.noise))
        known = np.isfinite(depth) & (depth > 0)
        disparity = product / np.where(known, depth, 1) + noise
        # No disparity is negative: what noise makes of a far one is farther than the camera sees.
        noisy = product / np.maximum(disparity, product / np.float32(self.optics.far))
        return np.where(known & (depth < self.optics.far), noisy, depth)

    def _lose(self, depth: Frame, rng: np.random.Generator) -> None:
        """Set pixels to 0, in place; a frame always keeps one distance."""
        lost = np.zeros(depth.shape, bool)
        if self.how.speckle:
            lost |= rng.random(depth.shape) < rng.uniform(0, self.how.speckle)
        if rng.random() < self.how.holes:
            lost[_patch(depth.shape, rng)] = True
        if (np.isnan(depth) | (depth == 0) | lost).all():
            return
        depth[lost] = 0


def _patch(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    rows, columns = (max(1, int(length * rng.uniform(*PATCH))) for length in shape)
    top, left = int(rng.integers(shape[0] - rows + 1)), int(rng.integers(shape[1] - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)


def _sparser(part: NDArray[np.float32], side: int) -> Frame:
    """Every n-th pixel while its short side keeps `side`: a mean of near, far and nothing is a distance to no surface."""
    step = max(1, min(part.shape[:2]) // side)
    return part[::step, ::step]
