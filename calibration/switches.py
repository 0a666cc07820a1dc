"""One session in which each layer is INT8 or float as an input says, so that a search measures without writing graphs.

    written graph     x -> Q -> DQ ------------------> MatMul <- DQ <- int8 weight
    switched graph    x -> Q -> DQ -> Where(on, ., x) -> MatMul <- Where(on, ., weight) <- DQ <- int8 weight

With a layer's switch on it computes what the written graph computes, with it off what the FP32 graph does. (A CPU graph rounds a
correction together with the bias it joins, this one does not: now and then a value falls on the other side of an 8-bit step.) A tower of ImageBind
takes seconds to be written and loaded; to turn a switch takes none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine, qdq
from edgebind.calibration.batches import Batch, inputs
from edgebind.calibration.graph import Graph, Layer, require_onnx
from edgebind.calibration.qdq import Scheme
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.transforms import rewrites
from edgebind.calibration.transforms.rewrites import Rewrites
from edgebind.closing import Closing

if TYPE_CHECKING:
    import onnx

SWITCHES = "edgebind.switches"
"""The graph's second input: (layers,) bool, in the order of `Graph.quantisable`."""

LARGE = 1_000_000_000
"""Bytes of weights above which they lie in a file of their own; the graph holds each twice, and protobuf ends at 2 GiB."""


class Switchboard(Closing):
    """The INT8 graph of a scheme, as written, with a switch for every layer."""

    def __init__(self, graph: Path, ranges: Ranges, scheme: Scheme, scratch: Path) -> None:
        source = Graph.read(graph)
        scaled = Rewrites(ranges.rewrites.scalings)  # for good, whereas a layer's correction goes with its switch
        rewrites.apply(source, scaled)
        self._names = [layer.name for layer in source.quantisable(ranges.attention)]
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            written = Path(folder) / scheme.file
            qdq.write(graph, replace(ranges, rewrites=scaled), scheme, written)
            corrections = ranges.rewrites.corrections
            switched = _Wiring(source, require_onnx().load(written), scheme, corrections, self._names).model()
            written.unlink()
            self._session: Any = engine.session(_save(switched, written), graph, optimise=False)
        self._input = source.input

    def embed(self, batches: Sequence[Batch], quantised: Collection[str]) -> NDArray[np.float32]:
        """Vectors (windows, dim) with the layers `quantised` in INT8 and the others in float."""
        on = np.array([name in quantised for name in self._names])
        rows = [
            self._session.run(None, {self._input: windows, SWITCHES: on})[0]
            for windows in inputs(batches, engine.BATCH)
        ]
        return np.concatenate(rows)

    def close(self) -> None:
        """Let go of the weights."""
        self._session = None


def _save(model: onnx.ModelProto, path: Path) -> Path:
    onnx = require_onnx()
    size = sum(tensor.ByteSize() for tensor in model.graph.initializer)
    onnx.save(model, path, save_as_external_data=size > LARGE, location=f"{path.name}.data")
    return path


class _Wiring:
    """Puts a Where on every edge from a DequantizeLinear to the node that reads it."""

    def __init__(
        self,
        source: Graph,
        written: onnx.ModelProto,
        scheme: Scheme,
        corrections: Mapping[str, Sequence[float]],
        names: Sequence[str],
    ) -> None:
        self._onnx = require_onnx()
        self._source = source
        self._graph = written.graph
        self._written = written
        self._place = {name: place for place, name in enumerate(names)}
        self._layers = {layer.name: layer for layer in source.layers}
        self._producers = {name: node for node in written.graph.node for name in node.output}
        self._known = {tensor.name for tensor in written.graph.initializer}
        self._corrections = corrections
        self._owners = _owners(source) if scheme.integer_biases else {}
        self._nodes: list[onnx.NodeProto] = []
        self._conditions: dict[tuple[str, ...], str] = {}

    def model(self) -> onnx.ModelProto:
        for node in list(self._graph.node):
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                for place, name in enumerate(node.input):
                    node.input[place] = self._switched(node, place, name)
            self._nodes.append(node)
            if node.output and node.output[0] in self._corrections:
                self._correct(node, self._layers[node.output[0]])
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        shape = (len(self._place),)
        self._graph.input.append(self._onnx.helper.make_tensor_value_info(SWITCHES, self._onnx.TensorProto.BOOL, shape))
        return self._written

    def _switched(self, node: onnx.NodeProto, place: int, name: str) -> str:
        dequantised = self._producers.get(name)
        if dequantised is None or dequantised.op_type != "DequantizeLinear":
            return name
        output = str(node.output[0])
        reader = output if output in self._place else output.removesuffix(".product")
        layer = self._layers.get(reader)
        quantised = self._producers.get(dequantised.input[0])
        if quantised is None:
            assert layer is not None  # only layers have integer weights
            return self._where([layer.name], name, self._parameter(layer, place))
        tensor = quantised.input[0]
        owners = [reader] if reader in self._place else []
        if tensor in self._owners:
            owners.append(self._owners[tensor])
        return self._where(owners, name, tensor)

    def _parameter(self, layer: Layer, place: int) -> str:
        """The float weight or bias of a layer, turned as `edgebind.calibration.qdq` turns a Gemm's."""
        name = layer.weight if place == 1 else str(layer.bias)
        turned = place == 1 and layer.op != "Conv" and layer.axis == 0
        new = f"{name}.float.t" if turned else f"{name}.float"
        if new not in self._known:
            value = self._source.value(name)
            tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(value.T) if turned else value, new)
            self._graph.initializer.append(tensor)
            self._known.add(new)
        return new

    def _correct(self, node: onnx.NodeProto, layer: Layer) -> None:
        """Add the layer's correction behind it, or zero when it is off."""
        name = layer.name
        rank = len(self._source.weights[layer.weight].dims)
        value = np.array(self._corrections[name], np.float32).reshape(
            (-1, *(1,) * (rank - 2 if layer.op == "Conv" else 0))
        )
        for suffix, constant in (("correction", value), ("nothing", np.float32(0))):
            self._graph.initializer.append(self._onnx.numpy_helper.from_array(np.asarray(constant), f"{name}.{suffix}"))
        shift = self._where([name], f"{name}.correction", f"{name}.nothing")
        node.name = node.output[0] = f"{name}.uncorrected"
        self._add("Add", [node.output[0], shift], name)

    def _where(self, owners: Sequence[str], integer: str, real: str) -> str:
        key = tuple(sorted(set(owners)))
        output = f"{integer}.where.{'.'.join(str(self._place[name]) for name in key)}"
        if output not in self._known:
            self._known.add(output)
            self._add("Where", [self._condition(key), integer, real], output)
        return output

    def _condition(self, owners: tuple[str, ...]) -> str:
        """Whether any of the layers is on: what one convolution writes in integers, the next reads so as well."""
        if owners not in self._conditions:
            self._conditions[owners] = f"{SWITCHES}.{'.'.join(str(self._place[name]) for name in owners)}"
            if len(owners) > 1:
                self._add("Or", [self._condition((name,)) for name in owners], self._conditions[owners])
            else:
                self._gather(owners[0], self._conditions[owners])
        return self._conditions[owners]

    def _gather(self, layer: str, output: str) -> None:
        place = self._onnx.numpy_helper.from_array(np.int64(self._place[layer]), f"{output}.place")
        self._graph.initializer.append(place)
        self._add("Gather", [SWITCHES, place.name], output)

    def _add(self, op: str, inputs: list[str], output: str) -> None:
        self._nodes.append(self._onnx.helper.make_node(op, inputs, [output], name=output))


def _owners(source: Graph) -> dict[str, str]:
    """{tensor that a convolution of a CPU graph writes in 8 bits: that convolution}."""
    rectified = source.rectified
    plain = {layer.name: layer.name for layer in source.layers if layer.op == "Conv"}
    return {name: layer for name, layer in plain.items() if name not in rectified.values()} | dict(rectified)
