"""What an FP16 graph computes, on a CPU: in float32, rounded to half wherever the graph stores half.

    FP16 graph      x(half) -> MatMul -> y(half)
    emulation       x(float) -> MatMul -> Cast(half) -> Cast(float) -> y

ONNX Runtime's CPU kernels have no half. It puts casts around them itself and then leaves out each pair that meets, so an FP16
graph runs in float32 from end to end, and neither its rounding nor its overflow shows. Casts that stand in the graph stay. GPUs sum
products of halves in float32 as well, so one rounding a node is what they do, or less where they fuse nodes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import require_onnx

if TYPE_CHECKING:
    import onnx

FLOAT, HALF = 1, 10
"""TensorProto.FLOAT and FLOAT16."""

_EXACT = frozenset(
    {
        # return some of what they read
        "Reshape", "Transpose", "Concat", "Split", "Slice", "Gather", "Expand", "Squeeze", "Unsqueeze", "Flatten",
        "Relu", "MaxPool", "ReduceMax", "Where", "Tile", "Pad",
        # fuse with the integer product behind them
        "DequantizeLinear",
    }
)  # fmt: skip
"""Operators whose outputs need no rounding when what they read is rounded."""


def embed(graph: Path, batches: Sequence[Batch]) -> NDArray[np.float32]:
    """Vectors of all windows as an FP16 graph has them, in order: (windows, dim).

    Raises
    ------
    BackendError: half overflows, so that what comes out are no numbers.
    """
    with tempfile.TemporaryDirectory(dir=graph.parent) as folder:
        emulated = Path(folder) / graph.name
        write(graph, emulated)
        return engine.embed(emulated, batches, optimise=False)


def write(graph: Path, target: Path) -> None:
    """Write the emulation of an FP16 graph, or of an INT8 graph with FP16 around it, to `target`; halved weights stay so.

    `graph` must hold its own weights, as `edgebind.export.precision.to_fp16` writes it.
    """
    onnx = require_onnx()
    model = onnx.load(graph)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    halves = {item.name for item in inferred.value_info if item.type.tensor_type.elem_type == HALF}
    weights = [tensor.name for tensor in model.graph.initializer if tensor.data_type == HALF]
    nodes = [onnx.helper.make_node("Cast", [name], [f"{name}.float"], to=FLOAT) for name in weights]
    nodes += [new for node in model.graph.node for new in _emulated(node, halves, frozenset(weights))]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target)


def _emulated(node: onnx.NodeProto, halves: set[str], weights: frozenset[str]) -> Iterator[Any]:
    make = require_onnx().helper.make_node
    if node.op_type == "Cast" and (node.input[0] in halves or node.output[0] in halves):
        node = make("Identity", node.input, node.output)  # all is float32, so what is left of it is the rounding
    for place, name in enumerate(node.input):
        if name in weights:
            node.input[place] = f"{name}.float"
    rounded = [name for name in node.output if name in halves and node.op_type not in _EXACT]
    for place, name in enumerate(node.output):
        if name in rounded:
            node.output[place] = f"{name}.exact"
    yield node
    for name in rounded:
        yield make("Cast", [f"{name}.exact"], [f"{name}.stored"], to=HALF)
        yield make("Cast", [f"{name}.stored"], [name], to=FLOAT)
