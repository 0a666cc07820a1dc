"""FP32 graph + ranges -> INT8 graphs with Q/DQ pairs, for TensorRT and for the two kinds of CPU.

    TensorRT     x -> Q(int8) -> DQ -> MatMul <- DQ <- int8 weight        symmetric, zero-points 0, bias in float
    CPU          x -> Q(uint8) -> DQ -> MatMul <- DQ <- (u)int8 weight    asymmetric activations from the same ranges
                 Conv also gets an int32 bias and a Q/DQ pair behind it, without which ONNX Runtime has no kernel for it

Only what layers read is quantised: LayerNorm, softmax, GELU, residual adds and the L2 norm stay in float. So do attention's own two
products, unless they are asked for; then all they read stands behind Q and DQ in the TensorRT graph, as its fused attention
wants it. Weights are stored as 8-bit integers, so the file shrinks fourfold.

    q -> Q -> DQ -> MatMul <- DQ <- Q <- k        -> Softmax -> Q -> DQ -> MatMul <- DQ <- Q <- v
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration.graph import Graph, Layer, Product, require_onnx
from edgebind.calibration.histogram import Range
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.transforms import rewrites
from edgebind.calibration.weights import LEAST, SCALINGS, Scaling, symmetric_weight_scales
from edgebind.errors import CalibrationError

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which integers stand where."""

    file: str
    """Name of the graph in a bundle."""
    unsigned_activations: bool
    unsigned_weights: bool
    integer_biases: bool
    """int32 biases, and 8-bit outputs of convolutions: without them ONNX Runtime has no integer kernel."""
    half_scales: bool
    """Scales of activations are numbers that half holds exactly, so that what is not INT8 may be FP16 at no further loss."""
    attention: bool
    """Attention's products are INT8 where that is asked for. ONNX Runtime's kernels for them are slower than float: the IMU
    tower of ImageBind takes 0.43 of FP32's time with them, and 0.16 without."""


TENSORRT = Scheme("encoder.onnx", False, False, False, True, True)
U8S8 = Scheme("encoder.u8s8.onnx", True, False, True, False, False)
U8U8 = Scheme("encoder.u8u8.onnx", True, True, True, False, False)
SCHEMES = (TENSORRT, U8S8, U8U8)


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers of one tensor: value = (integer - zero) x scale."""

    scale: Array
    """() or (channels,) float32."""
    zero: Array
    """The same shape; int8 or uint8."""


def activation_grid(span: Range, scheme: Scheme) -> Grid:
    """The grid that covers `span` and holds zero exactly, as padding and ReLU need it.

    Signed: scale = max(|low|, |high|) / 127, zero 0. Unsigned: scale = (high - low) / 255, zero = round(-low / scale).
    """
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    if low == high:
        low, high = -1.0, 1.0  # a tensor of zeros: any grid will do
    if not scheme.unsigned_activations:
        return Grid(_stored(np.maximum(np.float32(max(-low, high) / 127), LEAST), scheme), np.int8(0))
    scale = np.maximum(np.float32((high - low) / 255), LEAST)
    return Grid(scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255)))


def _stored(scales: Array, scheme: Scheme) -> Array:
    return next_halves(scales) if scheme.half_scales else scales


def next_halves(scales: Array) -> Array:
    """The least numbers not below positive float32 `scales` that half holds; float32 as before. Above 65504 they stay.

    Upwards, so that nothing is clipped that was not; by a part in 2000 at most, but for scales below 6e-5.
    """
    with np.errstate(over="ignore"):
        halves = scales.astype(np.float16)
    below = halves.astype(np.float32) < scales
    with np.errstate(over="ignore"):
        halves = np.where(below, np.nextafter(halves, np.float16(np.inf)), halves)
    found = halves.astype(np.float32)
    return np.where(np.isfinite(found), found, scales).astype(np.float32)


def weight_scales(weight: Array, axis: int, least: Array | float, scaling: Scaling) -> Array:
    """One for each output channel, that half holds: in all schemes, so that the integers and what they lose are the same."""
    return next_halves(np.maximum(scaling(weight, axis), least).astype(np.float32))


def quantise_weight(
    weight: Array, axis: int, scheme: Scheme, least: Array | float = 0.0, scaling: Scaling = symmetric_weight_scales
) -> tuple[Array, Grid]:
    """Symmetric integers of a weight with one scale for each output channel; uint8 is int8 shifted by 128.

    Parameters
    ----------
    least: smallest scale of each channel, see `_Writer._least_scales`.
    scaling: how each channel gets its scale, see `edgebind.calibration.weights`.
    """
    scales = weight_scales(weight, axis, least, scaling)
    shape = [1] * weight.ndim
    shape[axis] = -1
    integers = np.clip(np.rint(weight / scales.reshape(shape)), -127, 127)
    if scheme.unsigned_weights:
        return (integers + 128).astype(np.uint8), Grid(scales, np.full(scales.shape, 128, np.uint8))
    return integers.astype(np.int8), Grid(scales, np.zeros(scales.shape, np.int8))


def write(graph: Path, ranges: Ranges, scheme: Scheme, target: Path, keep: Collection[str] = ()) -> None:
    """Write the INT8 version of `graph` to `target`.

    Parameters
    ----------
    keep: names of layers (`Layer.name`) that stay in float.

    Raises
    ------
    CalibrationError: ranges of another graph, or without one of its tensors.
    """
    ranges.require_graph(graph)
    source = Graph.read(graph)
    rewrites.apply(source, ranges.rewrites, keep)
    model = _Writer(source, ranges, scheme, frozenset(keep)).model()
    require_onnx().save(model, target)


class _Writer:
    """Builds one INT8 graph, node by node, and copies only the weights that are still read."""

    def __init__(self, source: Graph, ranges: Ranges, scheme: Scheme, keep: frozenset[str]) -> None:
        self._onnx = require_onnx()
        self._source = source
        self._ranges = ranges
        self._scheme = scheme
        self._scaling = SCALINGS[ranges.weights]
        quantised = [
            layer for layer in source.quantisable(ranges.attention and scheme.attention) if layer.name not in keep
        ]
        self._layers = {layer.name: layer for layer in quantised if isinstance(layer, Layer)}
        self._products = {layer.name: layer for layer in quantised if isinstance(layer, Product)}
        self._nodes: list[onnx.NodeProto] = []
        self._new: dict[str, onnx.TensorProto] = {}
        self._quantised: dict[str, str] = {}  # float tensor -> its version behind Q and DQ
        self._rectified = source.rectified if scheme.integer_biases else {}

    def model(self) -> onnx.ModelProto:
        for node in self._source.model.graph.node:
            name = node.output[0] if node.output else ""
            if name in self._layers:
                self._quantise(node, self._layers[name])
            elif name in self._products:
                self._add("MatMul", [self._activation(factor) for factor in self._products[name].reads], name)
            else:
                self._copy(node)
        return self._assembled()

    def _copy(self, node: onnx.NodeProto) -> None:
        self._nodes.append(node)
        if node.output and node.output[0] in self._rectified:
            self._requantise(self._rectified[node.output[0]], node.output[0])

    def _quantise(self, node: onnx.NodeProto, layer: Layer) -> None:
        if layer.op == "Conv":
            self._convolution(node, layer)
        else:
            self._linear(layer)

    def _linear(self, layer: Layer) -> None:
        inputs = [self._activation(layer.activation), self._weight(layer, transpose=layer.axis == 0)]
        if layer.bias is None:
            self._add("MatMul", inputs, layer.name)
        elif self._scheme.integer_biases:
            self._add("Gemm", [*inputs, self._bias(layer)], layer.name)
        else:
            self._add("MatMul", inputs, f"{layer.name}.product")
            self._add("Add", [f"{layer.name}.product", layer.bias], layer.name)

    def _convolution(self, node: onnx.NodeProto, layer: Layer) -> None:
        inputs = [self._activation(layer.activation), self._weight(layer)]
        if layer.bias is not None:
            inputs.append(self._bias(layer) if self._scheme.integer_biases else layer.bias)
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = inputs
        self._nodes.append(copy)
        if self._scheme.integer_biases and layer.name not in self._rectified.values():
            self._requantise(layer.name, layer.name)

    def _requantise(self, layer: str, tensor: str) -> None:
        """Every reader of `tensor`, float or not, sees it behind Q and DQ: so the convolution can write integers."""
        if layer in self._layers:
            self._activation(tensor)

    def _activation(self, name: str) -> str:
        if name not in self._quantised:
            grid = activation_grid(self._range(name), self._scheme)
            parameters = self._grid(name, grid)
            self._add("QuantizeLinear", [name, *parameters], f"{name}.q8")
            self._add("DequantizeLinear", [f"{name}.q8", *parameters], f"{name}.dq")
            self._quantised[name] = f"{name}.dq"
        return self._quantised[name]

    def _range(self, name: str) -> Range:
        if name not in self._ranges.tensors:
            raise CalibrationError(f"no range for tensor {name!r}", where="ranges.json", remedy="calibrate again")
        return self._ranges.tensors[name]

    def _weight(self, layer: Layer, *, transpose: bool = False) -> str:
        name = f"{layer.weight}.t" if transpose else layer.weight
        if f"{name}.q8" not in self._new:
            value = self._source.value(layer.weight)
            axis = 1 if transpose else layer.axis
            oriented = np.ascontiguousarray(value.T) if transpose else value
            integers, grid = quantise_weight(oriented, axis, self._scheme, self._least_scales(layer), self._scaling)
            self._store(f"{name}.q8", integers)
            self._add("DequantizeLinear", [f"{name}.q8", *self._grid(name, grid)], f"{name}.dq", axis=axis)
        return f"{name}.dq"

    def _bias(self, layer: Layer) -> str:
        """int32 on the grid of the products, scale(x) x scale(w), so that it is added before the rescaling."""
        name = f"{layer.name}.bias"
        assert layer.bias is not None
        scale = activation_grid(self._range(layer.activation), self._scheme).scale
        weights = weight_scales(self._source.value(layer.weight), layer.axis, self._least_scales(layer), self._scaling)
        scales = (scale * weights.astype(np.float32)).astype(np.float32)
        integers = np.rint(self._source.value(layer.bias).ravel().astype(np.float64) / scales)
        self._store(f"{name}.q32", integers.astype(np.int32))
        parameters = self._grid(name, Grid(scales, np.zeros(scales.shape, np.int32)))
        self._add("DequantizeLinear", [f"{name}.q32", *parameters], f"{name}.dq", axis=0)
        return f"{name}.dq"

    def _least_scales(self, layer: Layer) -> Array | float:
        """Scales below which a channel's bias would not fit into int32, as it must for a channel that is nearly dead."""
        if layer.bias is None or not self._scheme.integer_biases:
            return 0.0
        scale = activation_grid(self._range(layer.activation), self._scheme).scale
        return np.abs(self._source.value(layer.bias).ravel().astype(np.float64)) / (scale * 2.0**30)

    def _grid(self, name: str, grid: Grid) -> tuple[str, str]:
        return self._store(f"{name}.scale", np.asarray(grid.scale)), self._store(f"{name}.zero", np.asarray(grid.zero))

    def _store(self, name: str, value: Array) -> str:
        self._new[name] = self._onnx.numpy_helper.from_array(value, name)
        return name

    def _add(self, op: str, inputs: list[str], output: str, **attributes: int) -> None:
        self._nodes.append(self._onnx.helper.make_node(op, inputs, [output], name=output, **attributes))

    def _assembled(self) -> onnx.ModelProto:
        original = self._source.model
        model = _without_body(original)
        model.graph.node.extend(self._rewired())
        used = {name for node in model.graph.node for name in node.input}
        for tensor in (*original.graph.initializer, *self._new.values()):
            if tensor.name in used:
                self._take(model.graph, tensor)
        return model

    def _take(self, graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
        source = self._source
        if tensor.name in source.weights and (source.is_external(tensor.name) or source.is_changed(tensor.name)):
            graph.initializer.append(self._onnx.numpy_helper.from_array(source.value(tensor.name), tensor.name))
        else:
            graph.initializer.append(tensor)

    def _rewired(self) -> list[onnx.NodeProto]:
        """In a CPU graph, float readers of a convolution's output also read its Q/DQ version."""
        if not self._scheme.integer_biases:
            return self._nodes
        behind = {layer.name for layer in self._layers.values() if layer.op == "Conv"} - set(self._rectified.values())
        behind |= {tensor for tensor, layer in self._rectified.items() if layer in self._layers}
        return [self._redirected(node, behind) for node in self._nodes]

    def _redirected(self, node: onnx.NodeProto, behind: Collection[str]) -> onnx.NodeProto:
        if node.op_type == "QuantizeLinear" or not any(name in behind for name in node.input):
            return node
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._quantised[name] if name in behind else name for name in node.input]
        return copy


def _without_body(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model's frame: versions, input, output. Built field by field, so that no gigabyte of weights is copied."""
    onnx = require_onnx()
    frame = onnx.ModelProto(ir_version=model.ir_version, producer_name="edgebind")
    frame.opset_import.extend(model.opset_import)
    frame.graph.name = model.graph.name
    frame.graph.input.extend(model.graph.input)
    frame.graph.output.extend(model.graph.output)
    return frame
