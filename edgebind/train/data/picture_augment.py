"""How another camera would have shown the same scene: thermal or colour, a picture or all frames of a video.

Photometry respects what values mean. A thermal camera's polarity is a setting (white-hot or black-hot), and its automatic gain
stretches each frame by a curve of its own; a photograph has no negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgebind.train import limits
from edgebind.train.data.geometry import Frame, Geometry, draw_geometry


@dataclass(frozen=True)
class PictureAugment:
    """Probabilities and strengths for a camera's frames."""

    crop: float = 0.0
    """Largest share of each side that may be cut away."""
    flip: float = 0.0
    """Probability that left and right change places."""
    gain: float = 0.0
    """Standard deviation of the log of the contrast about the frame's mean."""
    offset: float = 0.0
    """Standard deviation of the brightness, in the frame's own range."""
    gamma: float = 0.0
    """Standard deviation of the log of the exponent that grey levels are raised to: exposure, or a thermal camera's own gain."""
    invert: float = 0.0
    """Probability that warm is dark: the other polarity of a thermal camera."""
    colour: float = 0.0
    """Standard deviation of the log of each colour's gain."""
    noise: float = 0.0
    """Largest standard deviation of the noise, in the frame's own range."""
    dead_pixels: float = 0.0
    """Probability that some pixels stand still at one end of the range."""
    grey: float = 0.0
    """Probability that colours are lost."""
    cutout: float = 0.0
    """Probability that something stands before this camera alone: an eighth to a third of each side at the frame's mean."""
    whole: float = 0.0
    """Probability that nothing is cut away."""

    def __post_init__(self) -> None:
        limits.share("augment.crop", self.crop, whole=False)
        for name in ("flip", "invert", "dead_pixels", "grey", "cutout", "whole"):
            limits.share(f"augment.{name}", getattr(self, name))
        for name in ("gain", "offset", "gamma", "colour", "noise"):
            limits.at_least(f"augment.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class Camera:
    """An imagined camera."""

    how: PictureAugment
    side: int
    """Pixels that are enough."""

    def see(self, frame: Frame, rng: np.random.Generator, where: Geometry | None) -> Frame:
        """(height, width[, 3]) -> the part of it that `where` or chance names, in the same kind of values."""
        part = _coarser((where or draw_geometry(self.how, rng)).apply(frame), self.side)
        low, high = _range(frame)
        level = (part.astype(np.float32) - low) / (high - low)
        level = _photometry(level, self.how, rng)
        if rng.random() < self.how.dead_pixels:
            rows, columns = (rng.integers(0, side, 5) for side in level.shape[:2])
            level[rows, columns] = float(rng.integers(2))
        if rng.random() < self.how.cutout:
            _cover(level, rng)
        values = np.clip(level, 0, 1) * (high - low) + low
        return np.round(values).astype(frame.dtype) if frame.dtype.kind == "u" else values.astype(frame.dtype)


def _coarser(part: Frame, side: int) -> Frame:
    """Averaged by a whole factor while its short side keeps `side` pixels: what the tower cannot see need not be augmented."""
    factor = min(part.shape[:2]) // side
    if factor < 2:
        return part
    rows, columns = (length // factor for length in part.shape[:2])
    blocks = part[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, *part.shape[2:])
    total = np.zeros((rows, columns, *part.shape[2:]), np.float32)
    for row, column in np.ndindex(factor, factor):  # many times as fast as a mean over two axes
        total += blocks[:, row, :, column]
    return total / factor**2


def _cover(level: Frame, rng: np.random.Generator) -> None:
    height, width = level.shape[:2]
    tall, wide = (max(1, int(length * rng.uniform(1 / 8, 1 / 3))) for length in (height, width))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    level[top : top + tall, left : left + wide] = level.mean(axis=(0, 1))


def _range(frame: Frame) -> tuple[float, float]:
    """What counts as black and white: the type's ends for 8-bit, the frame's own otherwise."""
    if frame.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(frame.min()), float(frame.max())
    return low, max(high, low + 1e-3)


def _photometry(level: Frame, how: PictureAugment, rng: np.random.Generator) -> Frame:
    """(height, width[, 3]) float32 in [0, 1] -> the same, a little outside of it."""
    level = np.clip(level, 0, 1) ** math.exp(rng.normal(0, how.gamma))
    if rng.random() < how.invert:
        level = 1 - level
    middle = float(level.mean())
    level = (level - middle) * math.exp(rng.normal(0, how.gain)) + (middle + rng.normal(0, how.offset))
    if level.ndim == 3:
        level = level * np.exp(rng.normal(0, how.colour, 3)).astype(np.float32)
        if rng.random() < how.grey:
            level = np.repeat(level.mean(axis=2, keepdims=True), 3, axis=2)
    if how.noise:
        level = level + rng.standard_normal(level.shape, np.float32) * float(rng.uniform(0, how.noise))
    return level
