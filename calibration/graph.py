"""What of an FP32 graph can be quantised: its layers, the tensors they read, and how much of the work they are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind import extras
from edgebind.errors import ExportError, MissingDependencyError

if TYPE_CHECKING:
    import onnx


def require_onnx() -> Any:
    """The `onnx` package, or one clear line."""
    try:
        import onnx
        import onnx.external_data_helper
        import onnx.numpy_helper
    except ImportError as error:
        raise MissingDependencyError("onnx is not installed", remedy=extras.remedy("export")) from error
    return onnx


_ANONYMOUS = ("val_", "_v_", "onnx::")
"""How exporters call what they folded."""
_PARAMETER = re.compile(r"[._](weight|bias)$")
_NUMBERED = re.compile(r"(.*?\.\d+)\.")


@dataclass(frozen=True, slots=True)
class Layer:
    """One node with a constant weight: Conv, or a MatMul or Gemm that is a linear layer."""

    name: str
    """Its output tensor, which is unique in a graph where names of nodes need not be."""
    op: str
    activation: str
    weight: str
    axis: int
    """Axis of the weight that counts output channels."""
    bias: str | None = None

    @property
    def title(self) -> str:
        """How people know the layer: its weight's or bias's own name often tells more than the tensor's."""
        named = (name for name in (self.weight, self.bias) if name and not name.startswith(_ANONYMOUS))
        return _PARAMETER.sub("", next(named, self.name))

    @property
    def block(self) -> str:
        """The part of the encoder that the layer belongs to: "trunk.blocks.3.mlp.fc1" is of "trunk.blocks.3"."""
        found = _NUMBERED.match(self.title)
        return found[1] if found else self.title

    @property
    def reads(self) -> tuple[str, str]:
        """Its two factors."""
        return self.activation, self.weight


@dataclass(frozen=True, slots=True)
class Product:
    """A MatMul of two tensors that no weight is: attention's query by key, and its weights by value."""

    name: str
    """Its output tensor."""
    reads: tuple[str, str]
    """Its two factors."""
    block: str
    """The part of the encoder that it belongs to."""
    weighs: bool
    """Whether a Softmax made the first factor."""
    op: str = "MatMul"

    @property
    def title(self) -> str:
        """As people know it, since exporters only count them."""
        return f"{self.block} {'weights by value' if self.weighs else 'query by key'}"


Quantisable = Layer | Product


class Graph:
    """An ONNX graph of one input and one output, whose external weights stay in their file until asked for."""

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self.model = model
        self.folder = folder
        self._onnx = require_onnx()
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._changes: dict[str, list[Callable[[NDArray[Any]], NDArray[Any]]]] = {}

    @classmethod
    def read(cls, path: Path) -> Graph:
        """Read `path`, turning Constant nodes into initialisers.

        Raises
        ------
        ExportError: not one input and one output, or no ONNX graph.
        """
        onnx = require_onnx()
        try:
            model = onnx.load(path, load_external_data=False)
        except Exception as error:  # protobuf's DecodeError is not part of a public module
            raise ExportError("not a readable ONNX graph", where=path) from error
        if len(model.graph.output) != 1 or len(model.graph.input) != 1:
            got = f"{len(model.graph.input)}, {len(model.graph.output)}"
            raise ExportError("not an encoder", where=path, wanted="1 input, 1 output", got=got)
        _hoist_constants(model.graph)
        return cls(model, path.parent)

    @property
    def input(self) -> str:
        return str(self.model.graph.input[0].name)

    @property
    def output(self) -> str:
        return str(self.model.graph.output[0].name)

    def value(self, name: str) -> NDArray[Any]:
        """The array of an initialiser, read from its file if it lies in one, with its changes."""
        value = self._stored(name)
        for change in self._changes.get(name, ()):
            value = change(value)
        return value

    def _stored(self, name: str) -> NDArray[Any]:
        tensor = self.weights[name]
        if not self.is_external(name):
            return self._onnx.numpy_helper.to_array(tensor)
        copy = type(tensor)()
        copy.CopyFrom(tensor)
        self._onnx.external_data_helper.load_external_data_for_tensor(copy, str(self.folder))
        copy.ClearField("data_location")
        return self._onnx.numpy_helper.to_array(copy)

    def is_external(self, name: str) -> bool:
        return bool(self._onnx.external_data_helper.uses_external_data(self.weights[name]))

    def change(self, name: str, by: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """Let `value` return what `by` makes of it; neither the file nor the model's own tensor changes."""
        self._changes.setdefault(name, []).append(by)

    def is_changed(self, name: str) -> bool:
        return name in self._changes

    def add(self, name: str, value: NDArray[Any]) -> str:
        """A new initialiser; returns its name."""
        tensor = self.model.graph.initializer.add()
        tensor.CopyFrom(self._onnx.numpy_helper.from_array(value, name))
        self.weights[name] = tensor
        return name

    def forget(self) -> None:
        """Drop what was derived from the nodes, after they were edited."""
        for derived in ("layers", "products", "readers", "rectified"):
            self.__dict__.pop(derived, None)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Layers with constant weights, in the order of execution."""
        found = (_layer(node, self.weights) for node in self.model.graph.node)
        return tuple(layer for layer in found if layer is not None)

    @cached_property
    def products(self) -> tuple[Product, ...]:
        """Products of two activations, in the order of execution; each is of the block of the layer before it."""
        made = {str(name): str(node.op_type) for node in self.model.graph.node for name in node.output}
        layers = {layer.name: layer for layer in self.layers}
        found, block = [], ""
        for node in self.model.graph.node:
            layer = layers.get(node.output[0])
            if layer is not None:
                block = layer.block
            elif node.op_type == "MatMul" and not any(name in self.weights for name in node.input):
                first, second = (str(name) for name in node.input)
                found.append(Product(str(node.output[0]), (first, second), block, made.get(first) == "Softmax"))
        return tuple(found)

    def quantisable(self, attention: bool = False) -> tuple[Quantisable, ...]:
        """The layers, and the products with them if `attention` is to be INT8 too, in the order of execution."""
        if not attention:
            return self.layers
        place = {node.output[0]: place for place, node in enumerate(self.model.graph.node) if node.output}
        return tuple(sorted((*self.layers, *self.products), key=lambda one: place[one.name]))

    def observed(self, attention: bool = False) -> list[str]:
        """Tensors whose ranges are needed: what layers read, and what convolutions return (CPU kernels want both).

        With `attention`, also what its products read.
        """
        behind = {convolution: rectifier for rectifier, convolution in self.rectified.items()}
        names = [layer.activation for layer in self.layers]
        names += [behind.get(layer.name, layer.name) for layer in self.layers if layer.op == "Conv"]
        names += [name for product in self.products if attention for name in product.reads]
        return list(dict.fromkeys(names))

    @cached_property
    def rectified(self) -> dict[str, str]:
        """{ReLU's output: the convolution in front of it}, where nothing else reads the convolution.

        ONNX Runtime drops a ReLU whose output is quantised with zero-point 0, so the range behind it is the one to use.
        """
        behind = {layer.name: self.readers.get(layer.name, []) for layer in self.layers if layer.op == "Conv"}
        return {str(r[0].output[0]): name for name, r in behind.items() if len(r) == 1 and r[0].op_type == "Relu"}

    @cached_property
    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """Tensor -> the nodes that read it."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        return readers

    def macs(self, example: NDArray[Any], path: Path) -> dict[str, int]:
        """Multiply-accumulates for one window of every Conv, Gemm and MatMul: {output tensor: count}.

        Shapes are taken from a run, since those of a dynamic graph need not be known before.
        """
        from edgebind.calibration.engine import Tap

        nodes = [node for node in self.model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
        # A Q/DQ graph's weights come out of a node, so their shapes are taken from the run too.
        wanted = dict.fromkeys(name for node in nodes for name in (*node.input[:2], node.output[0]))
        with Tap(path, [name for name in wanted if name not in self.weights]) as tap:
            shapes = {name: values.shape for name, values in tap.run(example).items()}
        shapes |= {name: tuple(tensor.dims) for name, tensor in self.weights.items()}
        return {node.output[0]: _macs(node, shapes) for node in nodes}


def _layer(node: onnx.NodeProto, weights: Mapping[str, Any]) -> Layer | None:
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in weights or node.input[0] in weights:
        return None
    rank = len(weights[node.input[1]].dims)
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    if bias is not None and not _is_vector(bias, weights):
        return None
    if node.op_type == "Conv":
        axis = 0
    elif node.op_type == "MatMul":
        if rank != 2:  # a batch of weight matrices is rare, and no kernel takes it at 8 bits
            return None
        axis = 1
    else:
        if not _is_plain_gemm(node):
            return None
        axis = 0 if attribute(node, "transB", 0) else 1
    return Layer(node.output[0], node.op_type, node.input[0], node.input[1], axis, bias)


def _is_vector(name: str, weights: Mapping[str, Any]) -> bool:
    """Whether a bias is a constant with a number for each channel, as (5,) or (1, 5), and none for each row."""
    return name in weights and all(length == 1 for length in weights[name].dims[:-1])


def _is_plain_gemm(node: onnx.NodeProto) -> bool:
    return not attribute(node, "transA", 0) and attribute(node, "alpha", 1.0) == 1 and attribute(node, "beta", 1.0) == 1


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Value of a node's attribute, or `default`."""
    onnx = require_onnx()
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    out = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return out * math.prod(shapes[node.input[1]][1:])  # weight: (out, in / groups, *kernel)
    inner = shapes[node.input[0]]
    return out * (inner[0] if attribute(node, "transA", 0) else inner[-1])


def _hoist_constants(graph: onnx.GraphProto) -> None:
    onnx = require_onnx()
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = onnx.helper.get_attribute_value(node.attribute[0])
        if not isinstance(value, onnx.TensorProto):
            kind = np.int64 if node.attribute[0].name in ("value_int", "value_ints") else np.float32
            value = onnx.numpy_helper.from_array(np.asarray(value, kind))
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.node.remove(node)
