"""Depth pictures: metres -> disparity, as the depth tower reads it.

disparity = baseline * focal / depth, in pixels: near things spread over many values and far ones over few, as the noise
of a stereo or structured-light camera does. ImageBind clips depth to [0.01, 50] m first. It never published which
baseline and focal length, or a normalisation after it; the fields below say what edgebind takes, and a manifest keeps
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.preprocess import checks, config, images
from edgebind.preprocess.checks import Array

Floats = NDArray[np.float32]

HOLES = ("nearest", "far")


@dataclass(frozen=True)
class DepthPreprocessor:
    """Metres -> holes filled -> clipped -> disparity -> bicubic short side and centre crop -> `(x - mean) / std`.

    A hole is a pixel that the camera has no distance for: 0 or NaN. It must not reach the clip, which would read 0 m as
    1 cm, the strongest value there is. As in ROS REP 118, +inf is "too far" and -inf "too near": both are clipped.
    """

    kind: str = field(default="depth", init=False)
    size: int = 224
    """Pixels: side of the square."""
    near: float = 0.01
    """Metres; nearer is taken for this."""
    far: float = 50.0
    """Metres; farther is taken for this."""
    baseline: float = 0.075
    """Metres between projector and camera; 0.075 is the first Kinect's, whose pictures fill most of SUN RGB-D."""
    focal: float = 518.86
    """Pixels of the depth picture as it comes; 518.86 is the first Kinect's at 640 x 480. Put your camera's here."""
    holes: str = "nearest"
    """"nearest": the closest distance measured in the same row, or in the same column where a row has none: near the
    filled-in pictures of the training set. "far": `far`, which invents no surface."""
    resize: str = "short-side"
    """"short-side", "letterbox" or "squash": see `images.resized`."""
    mean: float = 0.0
    """Pixels of disparity."""
    std: float = 1.0
    """Pixels of disparity."""

    def __post_init__(self) -> None:
        config.demand(config.is_size(self.size), "size", "a positive whole number", self.size)
        for name in ("near", "far", "baseline", "focal", "std"):
            value = getattr(self, name)
            config.demand(config.is_real(value) and value > 0, name, "a positive number", value)
        config.demand(self.near < self.far, "near", f"less than far, {self.far:g}", self.near)
        config.demand(self.holes in HOLES, "holes", " or ".join(HOLES), self.holes)
        config.demand(self.resize in images.RESIZES, "resize", " or ".join(images.RESIZES), self.resize)
        config.demand(config.is_real(self.mean), "mean", "a finite number", self.mean)

    def __call__(self, samples: Array) -> Floats:
        """(height, width) metres, float -> float32 (1, size, size) disparity in pixels.

        Raises
        ------
        RecordingError: another shape or dtype, a negative distance, nothing but holes, or distances all beyond `far`.
        """
        depth = self._metres(samples)
        disparity = np.float32(self.baseline * self.focal) / np.clip(self._filled(depth), self.near, self.far)
        square = images.resized(disparity, self.size, self.resize)
        # Bicubic overshoots at edges; no distance between near and far has such a disparity.
        square = np.clip(square, disparity.min(), disparity.max())
        scaled: Floats = (square - np.float32(self.mean)) / np.float32(self.std)
        return scaled[None]

    def _metres(self, samples: Array) -> Floats:
        depth = checks.frame(samples, "depth frame")
        if depth.dtype.kind != "f":
            raise RecordingError(
                "depth frame has another dtype",
                wanted="metres in float",
                got=depth.dtype,
                remedy="if they are millimetres, say --units depth=mm; in Python, metres_from_millimetres",
            )
        self._check_distances(depth)
        return depth.astype(np.float32, copy=False)

    def _check_distances(self, depth: Array) -> None:
        measured = depth[np.isfinite(depth) & (depth != 0)]
        if measured.size == 0:
            if not np.isinf(depth).any():
                raise RecordingError("depth frame holds nothing but holes", wanted="a distance", got="0 or NaN only")
            return
        nearest = float(measured.min())
        if nearest < 0:
            raise RecordingError("depth frame holds a negative distance", wanted="metres", got=f"{nearest:g}")
        if nearest > self.far:
            raise RecordingError(
                "depth frame lies wholly beyond the range",
                wanted=f"metres up to {self.far:g}",
                got=f"{nearest:g} and more",
                remedy="if they are millimetres, say --units depth=mm; in Python, divide by 1000",
            )

    def _filled(self, depth: Floats) -> Floats:
        hole = np.isnan(depth) | (depth == 0)
        if not hole.any():
            return depth
        if self.holes == "far":
            return np.where(hole, np.float32(self.far), depth)
        return fill_nearest(depth, hole)

    def to_dict(self) -> dict[str, object]:
        """The `preprocess` dictionary of a manifest."""
        return config.to_dict(self)


def fill_nearest(depth: Floats, hole: NDArray[np.bool_]) -> Floats:
    """`depth` with each hole given the nearest value of its row; rows without any value take the nearest row's.

    `depth` (h, w); `hole` (h, w), True where `depth` has no value; at least one must be False. The left one on a tie.
    """
    filled = depth.ravel().copy()
    holes, values = np.flatnonzero(hole), np.flatnonzero(~hole)
    # How many values stand before each hole: the last of these is its neighbour on the left, the next one on the right.
    before = np.cumsum(~hole.ravel())[holes]
    left = values[np.maximum(before - 1, 0)]
    right = values[np.minimum(before, values.size - 1)]
    nearer_left = _steps(holes, left, depth.shape[1]) <= _steps(holes, right, depth.shape[1])
    filled[holes] = filled[np.where(nearer_left, left, right)]
    return _fill_rows(filled.reshape(depth.shape), np.asarray(hole.all(axis=1)))


def _steps(holes: NDArray[np.intp], neighbours: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """Pixels between hole and neighbour; `width`, which is more than any, where they stand in different rows."""
    return np.where(holes // width == neighbours // width, np.abs(holes - neighbours), width)


def _fill_rows(filled: Floats, empty: NDArray[np.bool_]) -> Floats:
    if empty.any():
        full = np.flatnonzero(~empty)
        distance = np.abs(np.flatnonzero(empty)[:, None] - full)
        filled[empty] = filled[full[distance.argmin(axis=1)]]
    return filled


def metres_from_millimetres(counts: Array) -> Floats:
    """Metres, float32, of a depth frame in whole millimetres (ROS `16UC1`, Kinect, RealSense), any shape; 0 stays 0.

    Raises
    ------
    RecordingError: no whole numbers, or none at all.
    """
    array = checks.whole(counts, "depth frame", "whole millimetres")
    return np.multiply(array, 0.001, dtype=np.float64).astype(np.float32)
