"""What every backend promises, whether it drives ONNX Runtime or a TensorRT engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Feed = Mapping[str, NDArray[np.generic]]


@runtime_checkable
class Backend(Protocol):
    """One loaded encoder: one input, one output (batch, dim) float32 whose rows are unit vectors."""

    name: str
    """How people call it: `onnxruntime`, `tensorrt`."""
    input_name: str
    output_name: str

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
