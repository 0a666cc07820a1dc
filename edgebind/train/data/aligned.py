"""Augmentation of a pair: what moves both sensors moves both alike, what only one of them feels stays its own.

    both cameras      one crop and one flip for the two
    each camera       its own gain, offset, gamma, polarity, colours, noise, dead pixels, and what stands before its lens
    IMU               its mounting, strength, noise and a silent channel; time is never cut on one side alone

Photometry respects what values mean. A thermal camera's polarity is a setting (white-hot or black-hot), and its automatic gain
stretches each frame by a curve of its own; a photograph has no negative, and metres of depth have neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind.errors import OptionError
from edgebind.preprocess import videos
from edgebind.preprocess.videos import Sampling, Video
from edgebind.train import limits
from edgebind.train.data import imu
from edgebind.train.recipe import Node, from_table

Frame = NDArray[Any]


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
class Geometry:
    """Where both cameras of a pair look: a part of the frame, mirrored or not. Fractions of height and width."""

    top: float
    bottom: float
    left: float
    right: float
    flip: bool

    def apply(self, frame: Frame) -> Frame:
        """(height, width[, 3]) -> the part, as a view."""
        height, width = frame.shape[:2]
        rows = slice(round(self.top * height), max(round(self.top * height) + 1, round(self.bottom * height)))
        columns = slice(round(self.left * width), max(round(self.left * width) + 1, round(self.right * width)))
        part = frame[rows, columns]
        return part[:, ::-1] if self.flip else part


def draw_geometry(how: PictureAugment, rng: np.random.Generator) -> Geometry:
    """A random part whose sides are at least 1 - crop of the frame's."""
    height, width = 1 - how.crop * rng.random(2) * (rng.random() >= how.whole)
    top, left = rng.random() * (1 - height), rng.random() * (1 - width)
    return Geometry(top, top + height, left, left + width, bool(rng.random() < how.flip))


Bend = Callable[[Any, np.random.Generator, Geometry | None], Any]
"""Samples in physical units -> as another sensor would have seen them."""

UNPHYSICAL = {"vision": ("invert",), "depth": ("invert", "gamma")}
"""Modality -> what would make of its values something that no such camera ever saw."""
ENOUGH = 2
"""A frame that has this many times the pixels of the tower's square, along each side, shows it all there is to see."""


def bender(node: Node) -> tuple[Bend, PictureAugment | None]:
    """The augmentation of a node's samples, and its geometry where it is a camera.

    Raises
    ------
    OptionError: constants that do not exist, a modality that has no augmentation, or one that would make nonsense of it.
    """
    if node.tower == "cached":
        return (lambda sample, rng, _: sample), None  # its vectors are of samples as they were
    if modalities.get(node.modality).is_camera:
        how: PictureAugment = from_table(PictureAugment, node.augment, where="recipe", prefix="augment.")
        _require_physical(how, node.modality)
        side = ENOUGH * int(node.preprocess.get("size", 224))
        return _Eye(how, side, node.video), how
    if node.modality == "imu":
        about: imu.Augment = from_table(imu.Augment, node.augment, where="recipe", prefix="augment.")
        return (lambda window, rng, _: _carry(window, about, rng)), None
    if node.augment:
        raise OptionError("this modality has no augmentation", where="recipe", wanted="no augment", got=node.modality)
    return (lambda sample, rng, _: sample), None


def _require_physical(how: PictureAugment, modality: str) -> None:
    for name in UNPHYSICAL.get(modality, ()):
        if getattr(how, name):
            raise OptionError(f"augment.{name} makes no sense of {modality}", where="recipe", wanted="0, or left out")


@dataclass(frozen=True)
class _Eye:
    """A camera, or a video of it: what one frame goes through all others do, since its camera has one setting and one place."""

    how: PictureAugment
    side: int
    """Pixels that are enough."""
    video: Sampling

    def __call__(self, sample: Any, rng: np.random.Generator, where: Geometry | None) -> Any:
        if isinstance(sample, Video):
            clip = sample if sample.stop is not None else sample.anywhere(self.video, rng)
            sample = clip.read(self.video)
        if not videos.is_read(sample):
            return _see(sample, self.how, rng, where, self.side)
        where, seed = where or draw_geometry(self.how, rng), int(rng.integers(2**63))
        frames = sample.reshape(-1, *sample.shape[2:])
        seen = np.stack([_see(frame, self.how, np.random.default_rng(seed), where, self.side) for frame in frames])
        return seen.reshape(*sample.shape[:2], *seen.shape[1:])


def _see(frame: Frame, how: PictureAugment, rng: np.random.Generator, where: Geometry | None, side: int) -> Frame:
    part = _coarser((where or draw_geometry(how, rng)).apply(frame), side)
    low, high = _range(frame)
    level = (part.astype(np.float32) - low) / (high - low)
    level = _photometry(level, how, rng)
    if rng.random() < how.dead_pixels:
        rows, columns = (rng.integers(0, side, 5) for side in level.shape[:2])
        level[rows, columns] = float(rng.integers(2))
    if rng.random() < how.cutout:
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


def _carry(window: Frame, how: imu.Augment, rng: np.random.Generator) -> Frame:
    """(6, length) m/s² and rad/s -> the same movement felt by a sensor mounted otherwise."""
    carriers = np.zeros(1, np.int64)
    turn = imu.mountings(carriers, how, rng)
    moved = imu.turned(window[None].astype(np.float64), turn)
    return imu.silence(imu.disturb(moved, carriers, how, rng).astype(np.float32), how.lost, rng)[0]
