"""What every preprocessor asks of an array before it computes: one line for each way in which it can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError

Array = NDArray[Any]


def numeric(samples: object, what: str) -> Array:
    """`samples` as an array of integers or real numbers that is not empty."""
    array = np.asarray(samples)
    if array.dtype.kind not in "uif":
        raise RecordingError(f"{what} is not numeric", wanted="integers or real numbers", got=f"dtype {array.dtype}")
    if array.size == 0:
        raise RecordingError(f"{what} is empty", wanted="at least one value", got=f"shape {array.shape}")
    return array


def whole(samples: object, what: str, wanted: str) -> Array:
    """`samples` as an array of integers, `wanted` says of what, that is not empty."""
    array = numeric(samples, what)
    if array.dtype.kind not in "ui":
        raise RecordingError(f"{what} has another dtype", wanted=wanted, got=array.dtype)
    return array


def finite(array: Array, what: str) -> Array:
    """`array` as float32, when every value of it is finite there."""
    values = array
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            values = array.astype(np.float32)
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise RecordingError(
            f"{what} holds NaN or infinity", wanted="finite values", got=f"{bad} of {values.size} values"
        )
    return values


def frame(samples: object, what: str) -> Array:
    """`samples` as a single-channel picture (height, width); a trailing axis of one channel is dropped."""
    array = numeric(samples, what)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2:
        raise RecordingError(f"{what} has another shape", wanted="(height, width)", got=array.shape)
    return array
