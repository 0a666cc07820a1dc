"""Fusion: what two sensors say together. Vectors of one space can be added; the sum, at unit length, is a vector of it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgebind.errors import OptionError
from edgebind.evaluate.encoder import unit_rows
from edgebind.signals import Floats

EVENLY = 0.5


def fuse(first: Floats, second: Floats, share: float = EVENLY) -> Floats:
    """share x first + (1 - share) x second, at unit length: (n, dim) each, row by row of the same item.

    Raises
    ------
    OptionError: a share outside 0 to 1, or vectors of two spaces.
    """
    if not 0 <= share <= 1:
        raise OptionError("the share of the first modality does not fit", wanted="0 to 1", got=share)
    if first.shape != second.shape:
        raise OptionError("vectors that cannot be added", wanted=first.shape, got=second.shape)
    return unit_rows(np.float32(share) * first + np.float32(1 - share) * second)


def common(first: Sequence[str], second: Sequence[str]) -> tuple[list[int], list[int]]:
    """Rows of the items that both name, in the order of the first."""
    places = {name: at for at, name in enumerate(second)}
    rows = [at for at, name in enumerate(first) if name in places]
    return rows, [places[first[at]] for at in rows]
