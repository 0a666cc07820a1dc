"""FP32 graph -> strongly typed FP16 graph: float32 at both ends, half inside, float32 where half would overflow or blur.

    x -> Cast(half) -> MatMul <- weight in half                       FP16
    x -> Q(half scale) -> DQ(half scale) -> MatMul <- DQ(half scale)  INT8: the products stay as they are, around them is half

Runtimes that compile what they are given (TensorRT 11, TensorRT-RTX) take types from the graph, so the casts stand in it. What a
DequantizeLinear returns has the type of its scale: it is written once for each type that is wanted of it, never behind a
Cast, so that Q, DQ and product still lie side by side and fuse.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebind.calibration.graph import Graph, require_onnx
from edgebind.errors import ExportError

if TYPE_CHECKING:
    import onnx

FLOAT, HALF = 1, 10
"""TensorProto.FLOAT and FLOAT16."""

QDQ_OPSET = 19
"""First in which scales may be half; it changes no operator that an encoder has."""

LARGEST = 65504.0
"""Largest finite half."""

KEPT = frozenset(
    {
        # sums of many or of squared terms: they pass 65504, or lose the small ones
        "LayerNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization", "BatchNormalization",
        "Softmax", "LogSoftmax", "Exp", "Log", "Pow", "Sqrt", "Reciprocal", "CumSum",
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSum", "ReduceSumSquare", "ReduceMean",
        "GlobalAveragePool",
        # carry their type in an attribute, or have inputs that must be float32
        "Cast", "CastLike", "ConstantOfShape", "Range", "Resize", "RandomNormalLike", "RandomUniformLike",
    }
)  # fmt: skip
"""Operators that stay in float32."""

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_ANY_TYPE = ("Shape", "Size")


def to_fp16(graph: Path, target: Path, keep: Collection[str] = ()) -> list[str]:
    """Write the FP16 version of `graph` to `target`; returns the products that had to stay in float32.

    Of an INT8 graph with Q/DQ pairs, all that is not INT8 becomes half, as far as it can.

    Parameters
    ----------
    keep: first outputs of further nodes that stay in float32, such as `edgebind.export.half_range` finds.

    Raises
    ------
    ExportError: a tensor of unknown type, or control flow.
    """
    converter = _Converter(Graph.read(graph), frozenset(keep))
    require_onnx().save(converter.model(), target)
    return converter.products_in_float


def halves(source: Graph) -> list[onnx.NodeProto]:
    """The nodes of an FP32 graph that would be half if nothing else spoke against it.

    Raises
    ------
    ExportError: a tensor of unknown type.
    """
    converter = _Converter(source)
    return [node for node in source.model.graph.node if converter.fits_half(node)]


class _Converter:
    """Gives each node one precision and puts a Cast on every edge between the two."""

    def __init__(self, source: Graph, keep: frozenset[str] = frozenset()) -> None:
        self._onnx = require_onnx()
        self._source = source
        self._keep = keep
        self._types = element_types(source)
        self._tail = _after_last_product(source.model.graph)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        # tensor -> type it has in the new graph; token ids stay whole numbers
        self._stored = {source.input: FLOAT} if self._types[source.input] == FLOAT else {}
        self._cast: dict[tuple[str, int], str] = {}
        self._dequantised: dict[str, onnx.NodeProto] = {}
        self.products_in_float: list[str] = []

    def model(self) -> onnx.ModelProto:
        for node in self._source.model.graph.node:
            self._convert(node)
        original = self._source.model
        model = self._onnx.ModelProto(ir_version=original.ir_version, producer_name="edgebind")
        model.opset_import.extend(original.opset_import)
        if self._dequantised:
            _raise_opset(model)
        model.graph.name = original.graph.name
        model.graph.input.extend(original.graph.input)
        model.graph.output.extend(original.graph.output)
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend(self._weights.values())
        return model

    def _convert(self, node: onnx.NodeProto) -> None:
        if any(a.type in (self._onnx.AttributeProto.GRAPH, self._onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise ExportError(
                "control flow cannot be converted", where=node.name or node.op_type, remedy="use fp32 or int8"
            )
        if node.op_type == "DequantizeLinear":
            self._dequantised[node.output[0]] = node  # written when somebody reads it
            return
        want = HALF if self.fits_half(node) else FLOAT
        if want == FLOAT and node.op_type in _PRODUCTS:
            self.products_in_float.append(node.output[0])
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._input(name, want, node.op_type in _ANY_TYPE) for name in node.input]
        self._nodes.append(copy)
        for name in node.output:
            if self._types.get(name) == FLOAT:
                self._stored[name] = want

    def fits_half(self, node: onnx.NodeProto) -> bool:
        """Whether a node is computed in half: by its operator, its place in the graph and its constants."""
        if node.op_type in KEPT or node.output[0] in self._tail:
            return False
        # A layer of a TensorRT graph may add its bias or its correction in a node of its own, which has the layer's name.
        if any(node.output[0].removesuffix(suffix) in self._keep for suffix in ("", ".product", ".uncorrected")):
            return False
        if node.op_type == "QuantizeLinear":  # reads what is there, for a Cast would stand between it and its producer
            return self._stored.get(node.input[0]) == HALF and self._is_half(node.input[1])
        if not all(self._is_half(self._dequantised[name].input[1]) for name in node.input if name in self._dequantised):
            return False
        weights = [name for name in node.input if name in self._source.weights and self._types.get(name) == FLOAT]
        return all(survives_half(self._source.value(name)) for name in weights)

    def _input(self, name: str, want: int, any_type: bool) -> str:
        if name in self._source.weights:
            return self._weight(name, want)
        if name in self._dequantised:
            return self._dequantise(self._dequantised[name], want)
        have = self._stored.get(name)
        if not name or have is None or have == want or any_type:
            return name
        if (name, want) not in self._cast:
            cast = f"{name}.{'half' if want == HALF else 'float'}"
            self._nodes.append(self._onnx.helper.make_node("Cast", [name], [cast], name=cast, to=want))
            self._cast[name, want] = cast
        return self._cast[name, want]

    def _dequantise(self, node: onnx.NodeProto, want: int) -> str:
        """The output of a DequantizeLinear whose scale has the wanted type."""
        output = f"{node.output[0]}.half" if want == HALF else str(node.output[0])
        if output not in self._stored:
            copy = self._onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = copy.output[0] = output
            copy.input[:] = [self._input(name, want, True) for name in node.input]
            self._nodes.append(copy)
            self._stored[output] = want
        return output

    def _is_half(self, scale: str) -> bool:
        """Whether a scale keeps its value in half."""
        value = self._source.value(scale)
        return bool(np.abs(value).max() <= LARGEST and (value.astype(np.float16) == value).all())

    def _weight(self, name: str, want: int) -> str:
        half = want == HALF and self._types[name] == FLOAT
        new = f"{name}.half" if half else name
        if new not in self._weights:
            value = self._source.value(name)
            self._weights[new] = self._onnx.numpy_helper.from_array(value.astype(np.float16) if half else value, new)
        return new


def _raise_opset(model: onnx.ModelProto) -> None:
    for item in model.opset_import:
        if item.domain in ("", "ai.onnx"):
            item.version = max(item.version, QDQ_OPSET)
    model.ir_version = max(model.ir_version, 9)  # of the release that brought that opset


def survives_half(value: np.ndarray) -> bool:
    """Whether a float32 constant means the same in half: nothing finite overflows, and not all of it becomes zero."""
    finite = np.abs(value[np.isfinite(value)])
    if not finite.size or not finite.any():
        return True
    return bool(finite.max() <= LARGEST and finite.astype(np.float16).any())


def _after_last_product(graph: onnx.GraphProto) -> set[str]:
    """Outputs of nodes that no Conv, Gemm or MatMul reads from, however far on: the L2 norm, and pooling before it.

    They cost next to nothing, and a unit vector deserves better than half's eleven bits.
    """
    leads_on: set[str] = set()
    tail: set[str] = {str(output.name) for output in graph.output}
    for node in reversed(graph.node):
        if node.op_type in _PRODUCTS or any(name in leads_on for name in node.output):
            leads_on.update(node.input)
        else:
            tail.update(node.output)
    return tail


def element_types(source: Graph) -> Mapping[str, int]:
    """{tensor: TensorProto data type} of all tensors.

    Raises
    ------
    ExportError: ONNX cannot tell one.
    """
    onnx = require_onnx()
    inferred: Any = onnx.shape_inference.infer_shapes(source.model).graph
    types = {
        item.name: item.type.tensor_type.elem_type for item in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    types |= {name: tensor.data_type for name, tensor in source.weights.items()}
    unknown = [name for node in source.model.graph.node for name in node.output if name and not types.get(name)]
    if unknown:
        raise ExportError(f"tensor {unknown[0]!r} has no known type", remedy="simplify the graph first, or use fp32")
    return types
