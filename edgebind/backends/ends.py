"""What goes into an engine and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from edgebind.engines.flavour import Flavour
from edgebind.errors import BackendError

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as trt

_NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "INT32": np.int32, "UINT8": np.uint8}


@dataclass(frozen=True, slots=True)
class End:
    """An engine's input or output: its name, and what one window is there."""

    name: str
    shape: tuple[int, ...]
    dtype: DTypeLike


def ends_of(engine: trt.ICudaEngine, flavour: Flavour, where: Path) -> tuple[End, End]:
    """The input and the output of an encoder's engine.

    Raises
    ------
    BackendError: not one of each, or not of any batch of a fixed shape.
    """
    mode = flavour.trt.TensorIOMode.INPUT
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == mode]
    outputs = [name for name in names if name not in inputs]
    if len(inputs) != 1 or len(outputs) != 1:
        got = f"{len(inputs)}, {len(outputs)}"
        raise BackendError("not an encoder", where=where, wanted="1 input, 1 output", got=got)
    return _end(engine, inputs[0], where), _end(engine, outputs[0], where)


def _end(engine: trt.ICudaEngine, name: str, where: Path) -> End:
    batch, *shape = (int(size) for size in engine.get_tensor_shape(name))
    kind = engine.get_tensor_dtype(name).name
    if kind not in _NUMPY or min(shape, default=1) < 1:
        wanted = f"any batch of one fixed shape, {' or '.join(_NUMPY)}"
        raise BackendError(f"{name} does not fit", where=where, wanted=wanted, got=f"{kind} {(batch, *shape)}")
    return End(name, tuple(shape), _NUMPY[kind])
