"""What every backend promises, whether it drives ONNX Runtime or a TensorRT engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgebind.errors import BackendError

Feed = Mapping[str, NDArray[np.generic]]


@runtime_checkable
class Backend(Protocol):
    """One loaded encoder: one input, one output (batch, dim) float32 whose rows are unit vectors."""

    name: str
    """How people call it: `onnxruntime`, `tensorrt`."""
    input_name: str
    output_name: str
    takes_pixels: bool
    """Whether it wants the 8-bit pixels before a preprocessor's `tail`, which it does itself, and not what comes after."""
    frame: tuple[int, int] | None
    """Height and width of the 8-bit frames that it wants instead of those pixels, and resizes itself; None wants no frames."""

    def infer(self, feed: Feed) -> dict[str, NDArray[np.float32]]:
        """Run one batch. Blocks until the outputs are on the host.

        Raises
        ------
        BackendError: it is closed, or the feed has another name, shape or type than the graph wants.
        """
        ...

    def infer_unchecked(self, value: NDArray[np.generic]) -> NDArray[np.float32]:
        """The runtime's bare call, neither `value` (as the graph wants it) nor output looked at: what a clock compares with."""
        ...

    def close(self) -> None:
        """Give back memory and device; calling it twice is harmless."""
        ...

    def __enter__(self) -> Backend: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_CASTS: dict[DTypeLike, Literal["safe"]] = {np.uint8: "safe"}
"""A float64 may become the float32 that the graph wants; 8 bits would wrap whatever does not fit."""


def checked(
    feed: Feed, name: str, shape: Sequence[int | str | None], dtype: DTypeLike, where: PathLike[str]
) -> NDArray[np.generic]:
    """The input of a feed as the graph wants it; names in the graph's `shape` stand for any size.

    Raises
    ------
    BackendError: the feed has another name, or a value of another shape, or of a type that would lose what it says.
    """
    if name not in feed:
        raise BackendError("no such input", where=where, wanted=name, got=sorted(feed))
    given = np.asarray(feed[name])
    if given.dtype == dtype and given.shape[1:] == shape and given.flags.c_contiguous:
        return given  # as nearly always: a small encoder takes 0.1 ms, and each look at its input shows
    if not np.can_cast(given.dtype, dtype, _CASTS.get(dtype, "same_kind")):
        raise BackendError("input of the wrong type", where=where, wanted=np.dtype(dtype).name, got=given.dtype.name)
    value = np.ascontiguousarray(given, dtype=dtype)
    if not _fits(value.shape, tuple(shape)):
        raise BackendError("input of the wrong shape", where=where, wanted=("batch", *shape), got=value.shape)
    return value


def _fits(got: tuple[int, ...], shape: tuple[int | str | None, ...]) -> bool:
    if got[1:] == shape:
        return True
    if len(got) != 1 + len(shape):
        return False
    return all(not isinstance(want, int) or want == size for want, size in zip(shape, got[1:], strict=True))


def finite(output: NDArray[np.float32], where: str | PathLike[str]) -> NDArray[np.float32]:
    """An output without values that are no numbers.

    Raises
    ------
    BackendError: there are some.
    """
    if np.count_nonzero(np.isfinite(output)) != output.size:
        raise BackendError("the encoder returned values that are no numbers", where=where)
    return output
