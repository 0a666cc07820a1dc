"""What was changed about an FP32 graph's constants, as data: so that `ranges.json` and the untouched graph are enough.

    scaling      a tensor's channels are divided by factors: what makes the tensor absorbs it, the layers behind undo it
    correction   a vector is added to what one quantised layer returns

Scalings leave the FP32 encoder what it was; corrections belong to quantised layers only, so one in float has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration.graph import Graph, Layer, require_onnx
from edgebind.errors import CalibrationError

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

Place = tuple[str, int]
"""A constant, and the axis of it that counts the channels."""

DIGITS = 4
"""Of factors and corrections. Any factors do, if front and back use the same, so they may as well be short to write."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Channels of one tensor, divided by `factors` in front of it and multiplied by them behind it."""

    method: str
    tensor: str
    factors: tuple[float, ...]
    divided: tuple[Place, ...]
    multiplied: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Rewrites:
    """All changes of one graph."""

    scalings: tuple[Scaling, ...] = ()
    corrections: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Layer -> what is added to its output, a number for each channel."""

    def __bool__(self) -> bool:
        return bool(self.scalings or self.corrections)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `from_dict` reads it."""
        scalings = [{name: getattr(scaling, name) for name in Scaling.__slots__} for scaling in self.scalings]
        return {"scalings": scalings, "corrections": dict(self.corrections)}


def from_dict(data: Mapping[str, Any]) -> Rewrites:
    """Read what `Rewrites.to_dict` wrote, through JSON or not.

    Raises
    ------
    ValueError, KeyError, TypeError: it is something else.
    """
    scalings = tuple(
        Scaling(
            str(item["method"]),
            str(item["tensor"]),
            tuple(_positive(f) for f in item["factors"]),
            tuple((str(name), int(axis)) for name, axis in item["divided"]),
            tuple((str(name), int(axis)) for name, axis in item["multiplied"]),
        )
        for item in data["scalings"]
    )
    return Rewrites(scalings, {str(k): tuple(map(float, v)) for k, v in data["corrections"].items()})


def _positive(factor: Any) -> float:
    if not 0 < float(factor) < float("inf"):
        raise ValueError(f"factor {factor}")
    return float(factor)


def short(values: Array) -> tuple[float, ...]:
    """`values` with `DIGITS` significant digits."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)


def apply(graph: Graph, rewrites: Rewrites, keep: Collection[str] = ()) -> None:
    """Change the constants that `graph` hands out; its file stays as it is.

    Parameters
    ----------
    keep: names of layers in float, which are not corrected.

    Raises
    ------
    CalibrationError: the graph has no such constant or layer, or it has another number of channels.
    """
    _scale(graph, rewrites.scalings)
    layers = {layer.name: layer for layer in graph.layers}
    missing = next((name for name in rewrites.corrections if name not in layers), None)
    if missing is not None:
        raise CalibrationError(f"no layer {missing!r} to correct", where="ranges.json", remedy="calibrate again")
    uses = _uses(graph)
    for name, correction in rewrites.corrections.items():
        if name not in keep:
            _correct(graph, layers[name], np.array(correction, np.float32), uses)
    graph.forget()  # some layers have a bias now that had none


def _scale(graph: Graph, scalings: Iterable[Scaling]) -> None:
    for scaling in scalings:
        factors = np.array(scaling.factors, np.float32)
        for places, vector in ((scaling.divided, 1 / factors), (scaling.multiplied, factors)):
            for name, axis in places:
                _require_channels(graph, name, axis, len(factors))
                graph.change(name, partial(_multiplied, axis=axis, vector=vector))


def _require_channels(graph: Graph, name: str, axis: int, channels: int) -> None:
    found = tuple(graph.weights[name].dims) if name in graph.weights else None
    if found is None or axis >= len(found) or found[axis] != channels:
        raise CalibrationError(
            f"no constant {name!r} to scale",
            where="ranges.json",
            wanted=f"{channels} channels on axis {axis}",
            got=found,
        )


def _multiplied(value: Array, axis: int, vector: Array) -> Array:
    shape = [1] * value.ndim
    shape[axis] = -1
    product: Array = value * vector.reshape(shape)
    return product


def _correct(graph: Graph, layer: Layer, correction: Array, uses: Mapping[str, int]) -> None:
    """Add to the layer's own bias, to that of the Add behind a MatMul, or to a new one."""
    bias = layer.bias or bias_behind(graph, layer)
    if bias is not None and uses[bias] == 1:
        graph.change(bias, lambda value: value + correction)
        return
    node = next(node for node in graph.model.graph.node if layer.name in node.output)
    if layer.op == "MatMul":
        new = graph.add(f"{layer.name}.correction", correction)
        _insert_add(graph.model.graph, node, new)
    else:
        whole = correction if layer.bias is None else graph.value(layer.bias) + correction
        node.input[2:] = [graph.add(f"{layer.name}.correction", whole.astype(np.float32))]


def bias_behind(graph: Graph, layer: Layer) -> str | None:
    """The constant vector that the only reader of a MatMul adds to it."""
    readers = graph.readers.get(layer.name, []) if layer.op == "MatMul" else []
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    other = next((name for name in readers[0].input if name != layer.name), "")
    return other if other in graph.weights and len(graph.weights[other].dims) == 1 else None


def _insert_add(graph: onnx.GraphProto, node: onnx.NodeProto, bias: str) -> None:
    """Readers keep the tensor's name, so its range still holds."""
    name = node.output[0]
    node.name = node.output[0] = f"{name}.uncorrected"
    place = list(graph.node).index(node)
    graph.node.insert(place + 1, require_onnx().helper.make_node("Add", [node.output[0], bias], [name], name=name))


def _uses(graph: Graph) -> Counter[str]:
    return Counter(name for node in graph.model.graph.node for name in node.input)


def write(source: Path, rewrites: Rewrites, target: Path) -> None:
    """Write the FP32 graph with its scalings to `target`, which computes what `source` does.

    Corrections are left out: they only make sense where a layer is quantised. External weights move into
    `<target>.data`, one at a time.
    """
    onnx = require_onnx()
    graph = Graph.read(source)
    apply(graph, Rewrites(rewrites.scalings))
    external = [name for name in graph.weights if graph.is_external(name)]
    for name in graph.weights.keys() - set(external):
        if graph.is_changed(name):
            graph.weights[name].CopyFrom(onnx.numpy_helper.from_array(graph.value(name), name))
    if external:
        with open(target.with_name(target.name + ".data"), "wb") as stream:
            for name in external:
                _move_out(graph.weights[name], graph.value(name), stream, target.name + ".data")
    onnx.save(graph.model, target)


def _move_out(tensor: onnx.TensorProto, value: Array, stream: BinaryIO, location: str) -> None:
    """Append the values to a file, and let the tensor point there."""
    place = {"location": location, "offset": str(stream.tell()), "length": str(value.nbytes)}
    stream.write(np.ascontiguousarray(value).data)
    del tensor.external_data[:]
    for key, text in place.items():
        tensor.external_data.add(key=key, value=text)
