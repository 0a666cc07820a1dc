"""Where a camera looks: what is cut and mirrored in one camera of a pair is cut and mirrored alike in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import OptionError

Frame = NDArray[Any]


class Cropping(Protocol):
    """The constants of a camera's augmentation that both cameras of a pair share."""

    @property
    def crop(self) -> float: ...

    @property
    def flip(self) -> float: ...

    @property
    def whole(self) -> float: ...


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


def draw_geometry(how: Cropping, rng: np.random.Generator) -> Geometry:
    """A random part whose sides are at least 1 - crop of the frame's."""
    height, width = 1 - how.crop * rng.random(2) * (rng.random() >= how.whole)
    top, left = rng.random() * (1 - height), rng.random() * (1 - width)
    return Geometry(top, top + height, left, left + width, bool(rng.random() < how.flip))


def require_alike(first: Cropping, second: Cropping) -> None:
    """Refuse a pair whose second camera asks for other cuts than its first, which decides for both.

    Raises
    ------
    OptionError: names the constants.
    """
    asked, decided = ((one.crop, one.flip, one.whole) for one in (second, first))
    if any(asked) and asked != decided:
        raise OptionError(
            "two cameras of a pair are cropped and mirrored alike",
            where="recipe",
            wanted="crop = {:g}, flip = {:g}, whole = {:g}, as the edge's first end".format(*decided),
            got="{:g}, {:g}, {:g}".format(*asked),
        )
