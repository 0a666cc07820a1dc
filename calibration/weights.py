"""Scales of 8-bit weights, one for each output channel: that of the largest weight, or the one with the least error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]

LARGEST, LEAST_ERROR = "largest", "least-error"

LEAST = np.finfo(np.float32).tiny
"""The smallest scale there is."""

SHARES = 1 - 0.75 * np.linspace(0, 1, 33) ** 2
"""Of the largest weight: where the least error is looked for. Few weights beside one large one do not pay for cutting much
of it, so most are near 1."""
BLOCK = 1 << 16
"""Weights that are tried at a time: they stay in a processor's cache."""


def symmetric_weight_scales(weight: Array, axis: int) -> Floats:
    """max |weight| / 127 of each channel along `axis`; 1 for a channel of zeros.

    A weight (64, 3, 5) with axis 0 gives (64,): one scale for each output channel.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    largest = np.abs(weight).max(axis=others)
    # Weight decay leaves numbers behind that are zero once they are divided, and a scale must not be.
    return np.where(largest > 0, np.maximum(largest / np.float32(127), LEAST), 1).astype(np.float32)


def least_error_weight_scales(weight: Array, axis: int) -> Floats:
    """The scale of each channel along `axis` that loses least to rounding and clipping, in the sum of squares.

    Never above that of the largest weight, and of two that cost the same the larger. A weight (64, 3, 5) with axis 0 gives
    (64,).
    """
    rows = np.ascontiguousarray(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1), np.float32)
    digest = hashlib.blake2b(rows.data, digest_size=16, key=str(rows.shape).encode()).digest()
    if digest not in _FOUND:  # a ladder writes the same weights again and again
        step = max(1, BLOCK // max(1, rows.shape[1]))
        _FOUND[digest] = np.concatenate([_least_error(rows[i : i + step]) for i in range(0, len(rows), step)])
    return _FOUND[digest]


_FOUND: dict[bytes, Floats] = {}
"""Digest of a weight's rows -> their scales."""


def _least_error(rows: Floats) -> Floats:
    """Scales of (channels, n)."""
    largest = symmetric_weight_scales(rows, 0)
    best, least = largest, np.full(len(rows), np.inf)
    for share in SHARES:
        scales = (largest * share).astype(np.float32)
        errors = rounding_errors(rows, scales)
        better = errors < least * (1 - 1e-6)
        best, least = np.where(better, scales, best), np.where(better, errors, least)
    return best


def rounding_errors(rows: Floats, scales: Floats) -> NDArray[np.float64]:
    """Sum of squared errors of each row (channels, n) on its symmetric 8-bit grid: (channels,)."""
    rounded = rows / scales[:, None]
    np.rint(rounded, out=rounded)
    np.clip(rounded, -127, 127, out=rounded)
    rounded *= scales[:, None]
    rounded -= rows
    return np.einsum("ij,ij->i", rounded, rounded, dtype=np.float64)


Scaling = Callable[[Array, int], Floats]

SCALINGS: dict[str, Scaling] = {LARGEST: symmetric_weight_scales, LEAST_ERROR: least_error_weight_scales}
"""How weights get their scales, by the name that `ranges.json` has for it."""
