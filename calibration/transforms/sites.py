"""Where the channels of a tensor may be scaled without changing what the encoder computes.

    producer     a LayerNormalization with its scale and bias, or a Conv, Gemm or MatMul with its weight and bias
    in between   what gives c f(x) for f(c x), c > 0, channel by channel: ReLU, pooling, reshapes of rows
    layers       all that read the tensor; their weights undo the scale

A tensor that anything else reads, such as a residual Add, cannot be scaled; nor can a constant that two nodes share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgebind.calibration.graph import Graph, Layer, attribute
from edgebind.calibration.transforms.rewrites import Place, Scaling, bias_behind

if TYPE_CHECKING:
    import onnx

_ROWS = frozenset({"Identity", "Relu", "LeakyRelu", "Reshape", "Flatten"})
"""Between linear layers, whose channels are the last axis. A reshape is fine where the last axis keeps its length."""
_MAPS = frozenset({"Identity", "Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"})
"""Between convolutions, whose channels are axis 1."""


@dataclass(frozen=True, slots=True)
class Site:
    """One place where a scale per channel can move from an activation into weights."""

    tensor: str
    """What the producer returns."""
    channels: int
    producer: str
    """Its kind of operator."""
    divided: tuple[Place, ...]
    layers: tuple[Layer, ...]
    multiplied: tuple[Place, ...]
    """One for each of `layers`."""

    def scaling(self, method: str, factors: tuple[float, ...]) -> Scaling:
        return Scaling(method, self.tensor, factors, self.divided, self.multiplied)


def find(graph: Graph) -> list[Site]:
    """All sites of a graph, in the order of execution; no constant is in two of them in the same role."""
    return list(_Search(graph).sites())


class _Search:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._uses = Counter(name for node in graph.model.graph.node for name in node.input)
        self._layers = {layer.name: layer for layer in graph.layers}

    def sites(self) -> Iterator[Site]:
        for node in self._graph.model.graph.node:
            found = self._producer(node)
            if found is None:
                continue
            tensor, divided = found
            channels = self._length(divided[0])
            readers = self._readers(tensor, _MAPS if node.op_type == "Conv" else _ROWS)
            undone = [self._undone(layer, channels, node.op_type == "Conv") for layer in readers or ()]
            multiplied = tuple(place for place in undone if place is not None)
            if any(self._length(place) != channels for place in divided):  # a bias that is broadcast
                continue
            if readers and len(multiplied) == len(readers) and self._are_own(*divided, *multiplied):
                yield Site(tensor, channels, node.op_type, divided, tuple(readers), multiplied)

    def _length(self, place: Place) -> int:
        return int(self._graph.weights[place[0]].dims[place[1]])

    def _are_own(self, *places: Place) -> bool:
        return all(self._uses[name] == 1 for name, _ in places)

    def _producer(self, node: onnx.NodeProto) -> tuple[str, tuple[Place, ...]] | None:
        """What the node returns, behind its bias, and the constants that can absorb a scale of it."""
        if node.op_type == "LayerNormalization":
            return self._norm(node)
        layer = self._layers.get(node.output[0]) if node.output else None
        if layer is None:
            return None
        bias = layer.bias or bias_behind(self._graph, layer)
        behind = bias is not None and layer.bias is None
        tensor = str(self._graph.readers[layer.name][0].output[0]) if behind else layer.name
        return tensor, ((layer.weight, layer.axis), *(((bias, 0),) if bias is not None else ()))

    def _norm(self, node: onnx.NodeProto) -> tuple[str, tuple[Place, ...]] | None:
        names = [name for name in node.input[1:3] if name]
        if any(name not in self._graph.weights or len(self._graph.weights[name].dims) != 1 for name in names):
            return None
        return node.output[0], tuple((name, 0) for name in names)

    def _readers(self, tensor: str, between: frozenset[str]) -> list[Layer] | None:
        """Layers that read the tensor, directly or through `between`; None if anything else does."""
        found: list[Layer] = []
        if tensor == self._graph.output:
            return None
        for node in self._graph.readers.get(tensor, []):
            layer = self._layers.get(node.output[0])
            if layer is not None and layer.activation == tensor:
                found.append(layer)
            elif node.op_type in between and node.input[0] == tensor:
                further = self._readers(node.output[0], between)
                if further is None:
                    return None
                found += further
            else:
                return None
        return found

    def _undone(self, layer: Layer, channels: int, maps: bool) -> Place | None:
        """The axis of the layer's weight that counts its input channels, if those are the producer's."""
        dims = self._graph.weights[layer.weight].dims
        if maps != (layer.op == "Conv"):
            return None
        if not maps:
            axis = 1 - layer.axis
        else:
            node: Any = next(node for node in self._graph.readers[layer.weight] if node.output[0] == layer.name)
            groups = attribute(node, "group", 1)
            if groups > 1 and not (dims[0] == groups == channels and dims[1] == 1):
                return None
            axis = 1 if groups == 1 else 0  # depthwise: (channels, 1, kernel), whose only axis of channels is the first
        return (layer.weight, axis) if dims[axis] == channels else None
