"""How another thermal camera, on another day, would have seen the same thing; and how things are cut out of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edgebind.errors import OptionError
from edgebind.evaluate.datasets.boxes import Rect, size_of
from edgebind.signals import Floats
from edgebind.train import limits

Levels = NDArray[np.floating]
"""(height, width) in the camera's own range, about 0 to 1; float32 or float64 from step to step."""


SHARES = (
    *(
        "square",
        "rotate",
        "whole",
        "quarter_turn",
        "upside_down",
        "blur",
        "low_resolution",
        "saturate",
        "gradient",
        "noise",
    ),
    *("dead_pixels", "cutout", "resized"),
)
"""Constants that are probabilities."""


@dataclass(frozen=True)
class Augment:
    """Probabilities and strengths; lengths are in box sizes, grey levels in [0, 1]."""

    date_power: float = 0.35
    """Dates are drawn by number of boxes ** this, so that one busy night does not drown the others."""
    drawn: dict[str, float] = field(default_factory=dict)
    """Label -> share of its samples that are drawn instead of cut out of a picture; none for labels not named."""
    drawings: int = 500
    """Of each such label."""
    tight: tuple[float, ...] = (0.0, 0.08)
    """A quarter of the boxes are cut with a margin in this range on each side..."""
    usual: tuple[float, ...] = (0.0, 0.6)
    """...half of them in this..."""
    wide: tuple[float, ...] = (0.5, 1.1)
    """...and a quarter in this: nobody knows how a user will cut."""
    square: float = 0.5
    """Probability that a cut is made square."""
    jitter: float = 0.05
    """Standard deviation of a box's place."""
    rotate: float = 0.35
    """Probability of a turn by up to `angle_deg`: from above, nothing has a right way up."""
    angle_deg: float = 35.0
    whole: float = 0.35
    """Probability that a scene is a whole frame..."""
    part: tuple[float, ...] = (0.35, 1.0)
    """...and otherwise this fraction of its width."""
    quarter_turn: float = 0.5
    upside_down: float = 0.1
    blur: float = 0.1
    low_resolution: float = 0.1
    gamma: float = 0.35
    """Standard deviation of the log of the camera's exponent."""
    saturate: float = 0.15
    invert: dict[str, float] = field(default_factory=dict)
    """Label -> probability that warm becomes cold: by day the ground is often warmer than what stands on it."""
    gradient: float = 0.3
    """Probability of a slope over the picture, as a warm lens gives."""
    noise: float = 0.5
    dead_pixels: float = 0.1
    cutout: float = 0.2
    resized: float = 0.3
    """Probability that somebody has squeezed the cut into the tower's square before it is preprocessed: it then says nothing
    of its size."""

    def __post_init__(self) -> None:
        for name in ("tight", "usual", "wide", "part"):
            ends = getattr(self, name)
            if len(ends) != 2 or ends[0] > ends[1]:
                raise OptionError(
                    f"key 'augment.{name}' is no range", wanted="two numbers, low <= high", got=list(ends)
                )
        if not 0 < self.part[0] <= self.part[1] <= 1:
            raise OptionError("key 'augment.part' is no part", wanted="above 0, at most 1", got=list(self.part))
        for name in SHARES:
            limits.share(f"augment.{name}", getattr(self, name))
        for name in ("jitter", "angle_deg", "gamma"):
            limits.at_least(f"augment.{name}", getattr(self, name), 0)
        if self.drawings < 1:
            raise OptionError("key 'augment.drawings' is too small", wanted="at least 1", got=self.drawings)
        for name in ("drawn", "invert"):
            for label, share in getattr(self, name).items():
                if not isinstance(share, (int, float)) or not 0 <= share <= 1:
                    raise OptionError(f"key 'augment.{name}.{label}' is no share", wanted="0 to 1", got=repr(share))

    def margin(self, rng: np.random.Generator) -> float:
        """What is left around a box, on each side."""
        return between((self.tight, self.usual, self.usual, self.wide)[int(rng.integers(4))], rng)


def between(ends: tuple[float, ...], rng: np.random.Generator) -> float:
    """A random number of a range."""
    low, high = ends
    return float(rng.uniform(low, high))


@dataclass(frozen=True)
class Camera:
    """One imagined camera a batch, drawing a new setting for each patch."""

    how: Augment
    rng: np.random.Generator

    def see(self, patch: Floats, *, turnable: bool, invert: float = 0.0) -> Floats:
        """(height, width) in [0, 1], in the pixels of the sensor -> the same thing by another camera.

        Noise, dead pixels and blur are the sensor's own: what blows a small thing up blows them up with it.

        Parameters
        ----------
        turnable: it has no right way up.
        invert: probability that warm becomes cold.
        """
        posed = self._pose(patch, turnable)
        # Before the optics: what they smooth away was still in the camera's range.
        low, high = float(posed.min()), float(posed.max())
        span = max(high - low, 0.02)
        level = self._response(np.clip((self._optics(posed) - low) / span, 0, 1))
        if self.rng.random() < invert:
            level = 1 - level
        return self._electronics(level, span)

    def _pose(self, patch: Floats, turnable: bool) -> Floats:
        rng = self.rng
        if turnable and rng.random() < self.how.quarter_turn:
            patch = np.rot90(patch, int(rng.integers(1, 4)))
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        if turnable and rng.random() < self.how.upside_down:
            patch = patch[::-1]
        return np.ascontiguousarray(patch)

    def _optics(self, patch: Floats) -> Floats:
        rng = self.rng
        if rng.random() < self.how.blur:
            patch = _filtered(patch, ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
        if rng.random() < self.how.low_resolution:
            height, width = patch.shape
            part = rng.uniform(0.4, 0.9)
            small = squeezed(patch, max(2, round(part * width)), max(2, round(part * height)))
            patch = squeezed(small, width, height)
        return patch

    def _response(self, level: Levels) -> Levels:
        rng = self.rng
        if rng.random() < 0.6:
            level = level ** math.exp(rng.normal(0, self.how.gamma))
        if rng.random() < self.how.saturate:
            level = np.clip(level, rng.uniform(0, 0.15), rng.uniform(0.75, 1.0))
        return level

    def _electronics(self, level: Levels, span: float) -> Floats:
        rng, how = self.rng, self.how
        if rng.random() < how.gradient:
            level = level + _slope(level.shape[0], level.shape[1], rng)
        if rng.random() < how.noise:
            level = level + rng.normal(0, rng.uniform(0.005, 0.06), level.shape)
        level = self._damage(np.array(level)) * min(1.0, span * rng.uniform(0.7, 1.6))
        return level.astype(np.float32)

    def _damage(self, level: Levels) -> Levels:
        rng, (rows, columns) = self.rng, level.shape
        if rng.random() < self.how.dead_pixels:
            level[rng.integers(rows, size=3), rng.integers(columns, size=3)] = rng.integers(2)
        if rng.random() < self.how.cutout:
            height, width = (rng.uniform(1 / 8, 1 / 3, 2) * level.shape).astype(int)
            top, left = rng.integers(rows - height), rng.integers(columns - width)
            level[top : top + height, left : left + width] = level.mean()
        return level


def _slope(height: int, width: int, rng: np.random.Generator) -> Levels:
    across, down = rng.normal(0, 0.15, 2)
    columns, rows = (np.linspace(-1, 1, side, dtype=np.float32) for side in (width, height))
    return across * columns[None, :] + down * rows[:, None]


def _filtered(patch: Floats, kernel: ImageFilter.GaussianBlur) -> Floats:
    # Pillow blurs 8-bit pictures only; at 1/255 the steps are far below a camera's noise.
    grey = Image.fromarray(np.clip(patch * 255, 0, 255).round().astype(np.uint8))
    return np.asarray(grey.filter(kernel), np.float32) / np.float32(255)


# --- cutting ----------------------------------------------------------------------------------------------------------


def cut(image: Image.Image, rect: Rect, most: int) -> Floats:
    """A rectangle of an 8-bit picture, float32 in [0, 1], in the picture's own pixels unless it is longer than `most`."""
    width, height = size_of(rect)
    scale = min(1.0, most / max(width, height))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    patch = image.resize(size, Image.Resampling.BICUBIC, box=rect)
    return np.asarray(patch, np.float32) / np.float32(255)


def squeezed(patch: Floats, width: int, height: int) -> Floats:
    """(height, width) by Pillow's bicubic, whatever shape the patch had."""
    return np.asarray(Image.fromarray(patch).resize((width, height), Image.Resampling.BICUBIC))


def jittered(rect: Rect, amount: float, rng: np.random.Generator) -> Rect:
    """A box moved and resized a little, as another annotator would have drawn it."""
    width, height = size_of(rect)
    x = (rect[0] + rect[2]) / 2 + amount * width * rng.normal()
    y = (rect[1] + rect[3]) / 2 + amount * height * rng.normal()
    width, height = width * np.exp(1.6 * amount * rng.normal()), height * np.exp(1.6 * amount * rng.normal())
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def random_rect(width: float, height: float, limit: tuple[int, int], rng: np.random.Generator) -> Rect:
    """A rectangle of that size somewhere in a picture."""
    left, top = rng.uniform(0, limit[0] - width), rng.uniform(0, limit[1] - height)
    return left, top, left + width, top + height


def rotate(image: Image.Image, rect: Rect, angle_deg: float, margin: float) -> tuple[Image.Image, Rect]:
    """The surroundings of a box turned about its centre, and the box that then holds the thing.

    An elongated box grows less than its corners would ask, because things seldom fill them.
    """
    width, height = size_of(rect)
    cosine, sine = abs(math.cos(math.radians(angle_deg))), abs(math.sin(math.radians(angle_deg)))
    turned = width * cosine + 0.6 * height * sine, height * cosine + 0.6 * width * sine
    half = math.ceil(max(turned) * (0.5 + margin) * 1.5) + 3
    x, y = round((rect[0] + rect[2]) / 2), round((rect[1] + rect[3]) / 2)
    around = _padded_crop(image, (x - half, y - half, x + half, y + half))
    box = (half - turned[0] / 2, half - turned[1] / 2, half + turned[0] / 2, half + turned[1] / 2)
    return around.rotate(angle_deg, Image.Resampling.BICUBIC), box


def _padded_crop(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """A crop that may reach beyond the picture, whose edge is then repeated."""
    rows = np.clip(np.arange(box[1], box[3]), 0, image.height - 1)
    columns = np.clip(np.arange(box[0], box[2]), 0, image.width - 1)
    return Image.fromarray(np.asarray(image)[np.ix_(rows, columns)])
