"""Pillow's bicubic of 8-bit pictures as two products of matrices, equal to the grey level: a resize that a GPU can do as well.

Pillow resizes one axis and then the other. Each output is the sum of some inputs times weights of 22 bits after the point,
rounded to a grey level and limited to 0..255, between the two as after them. The weights depend on the sizes alone, so one axis
is one matrix, and cutting out the centre or repeating the border is a choice of its rows.

    short-side, 640 x 480 to 224:   (224 x 480) x [ frame (480 x 640) x (640 x 224) ]

Which axis is first depends on the sizes and on Pillow's release; so the one that is installed is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import OptionError
from edgebind.preprocess import images

BITS = 22
"""After the point of a weight: Pillow's for 8-bit pictures."""
LOW_BITS = 11
"""Of a weight's lower half. A product of a half and a grey level, and the sums of them, are whole numbers that float32 holds exactly."""
_EXACT = 1 << 24
"""Whole numbers up to this are exact in float32, and so are sums of them in any order that stay below."""
_SUPPORT = 2.0
"""Inputs on each side of an output, in outputs' distances where it shrinks."""

Weights = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Products:
    """The two matrices, in units of 2^-22."""

    rows: Weights
    """(size, height of the frame)"""
    columns: Weights
    """(size, width of the frame)"""
    rows_first: bool = False

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (height, width) -> (size, size)"""
        if self.rows_first:
            return _levels(_levels(self.rows @ frame) @ self.columns.T)
        return _levels(self.rows @ _levels(frame @ self.columns.T))


def products(height: int, width: int, size: int, how: str) -> Products:
    """What makes frames of that size a square of `size`, `how` as in `images.resized`.

    Raises
    ------
    OptionError: frames so large, against `size`, that sums of their grey levels would not be exact in float32; or this Pillow
        does something else.
    RecordingError: the frames would be strips.
    """
    # Black and white at random: sums go beyond both ends, and the limits between the axes show which was first.
    pattern = np.random.default_rng(0).integers(0, 2, (height, width), np.uint8) * np.uint8(255)
    wanted = images.resized(pattern, size, how)
    inner, rows, columns = _geometry(height, width, size, how)
    matrices = weights(height, inner[0])[rows], weights(width, inner[1])[columns]
    if any(np.abs(half).sum(axis=1).max() * 255 >= _EXACT // 2 for matrix in matrices for half in halves(matrix)):
        raise OptionError("frames are too large to be resized exactly", got=f"{width}x{height} to {size}x{size}")
    for rows_first in (False, True):
        found = Products(*matrices, rows_first)
        if np.array_equal(found(pattern), wanted):
            return found
    raise OptionError("the installed Pillow resizes in another way", got=f"{width}x{height} to {size}x{size}")


def _levels(sums: Weights) -> NDArray[np.uint8]:
    """Rounded half up, as a shift of whole numbers does it, and limited."""
    half = 1 << (BITS - 1)
    levels: NDArray[np.uint8] = np.clip((sums + half) >> BITS, 0, 255).astype(np.uint8)
    return levels


def _geometry(height: int, width: int, size: int, how: str) -> tuple[tuple[int, int], Weights, Weights]:
    """(height and width after the resize; which rows of it the square has; which columns)."""
    if how == "squash":
        inner = (size, size)
    elif how == "letterbox":
        inner = images.fit_long(height, width, size)
    else:
        inner = images.fit_short(height, width, size)
    # Negative where the square is larger, and its border is repeated.
    before = [round((side - size) / 2.0) if side >= size else -((size - side) // 2) for side in inner]
    rows, columns = (np.clip(np.arange(size) + start, 0, side - 1) for start, side in zip(before, inner, strict=True))
    return inner, rows, columns


def halves(matrix: Weights) -> tuple[Weights, Weights]:
    """(upper, lower) with `matrix` = upper x 2^11 + lower, and lower between -2^10 and 2^10."""
    middle = 1 << (LOW_BITS - 1)
    lower = (matrix + middle) % (1 << LOW_BITS) - middle
    return (matrix - lower) >> LOW_BITS, lower


def weights(length: int, target: int) -> Weights:
    """(target, length): what each input weighs in each output, in units of 2^-22. Arithmetic and rounding are Pillow's."""
    scale = length / target
    stretch = max(scale, 1.0)
    found = np.zeros((target, length), np.int64)
    for output in range(target):
        centre = (output + 0.5) * scale
        first = max(int(centre - _SUPPORT * stretch + 0.5), 0)
        last = min(int(centre + _SUPPORT * stretch + 0.5), length)
        near = [_bicubic((place - centre + 0.5) / stretch) for place in range(first, last)]
        total = sum(near)
        found[output, first:last] = [_rounded(value / total * (1 << BITS)) for value in near]
    return found


def _bicubic(x: float) -> float:
    """Keys' cubic with a = -0.5."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 if x < 2.0 else 0.0


def _rounded(value: float) -> int:
    """Half away from zero."""
    return int(value - 0.5) if value < 0 else int(value + 0.5)
