"""What a layer in INT8 saves, in microseconds: measured on this CPU, and estimated for a device with INT8 tensor cores.

Measured: the layer alone, as a graph of its own, races its INT8 version in ONNX Runtime, by the processor's time. Layers of one
shape share a race. Estimated: a roofline, the longer of computing and fetching, in FP16 and in INT8.

The larger of the two counts. A layer that this CPU computes no faster in INT8 is still one that a Jetson does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import cpu
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.benchmarks import latency
from edgebind.calibration import qdq
from edgebind.calibration import ranges as ranges_
from edgebind.calibration.batches import Batch
from edgebind.calibration.engine import Tap
from edgebind.calibration.graph import Graph, Layer, require_onnx
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.subject import Subject

HALF_MACS_PER_US = 5.0e6
INT8_MACS_PER_US = 10.0e6
BYTES_PER_US = 68.0e3
"""Of a Jetson Orin Nano 8 GB as NVIDIA's data sheet gives it: 20 dense INT8 TOPS, half as many in FP16, 68 GB/s."""

SECONDS = 0.1
"""Of a race."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Time that INT8 saves in one layer and one window."""

    microseconds: float
    basis: str
    """`measured` on this CPU, or `estimated` for a device where that is more."""


def savings(
    subject: Subject, times: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Saving]:
    """What each layer saves.

    Parameters
    ----------
    times: {layer: (milliseconds in float, in INT8)} from `race`; a layer may be missing.
    shapes: of the layers' inputs and outputs, one window, and of their weights.
    """
    return {layer.name: _saving(layer, subject.macs[layer.name], times, shapes) for layer in subject.layers}


def _saving(
    layer: Layer, macs: int, times: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[int, ...]]
) -> Saving:
    estimated = estimate(macs, sum(int(np.prod(shapes[name])) for name in (layer.activation, layer.weight, layer.name)))
    slow, fast = times.get(layer.name, (0.0, 0.0))
    measured = (slow - fast) * 1000
    return Saving(measured, "measured") if measured > estimated else Saving(estimated, "estimated")


def estimate(macs: int, values: int) -> float:
    """Microseconds that INT8 saves against FP16 on a device: `macs` products, `values` numbers read or written."""
    half = max(macs / HALF_MACS_PER_US, 2 * values / BYTES_PER_US)
    return half - max(macs / INT8_MACS_PER_US, values / BYTES_PER_US)


def shapes(subject: Subject, example: Batch) -> dict[str, tuple[int, ...]]:
    """{tensor: shape} of what layers read and write, one window, and of their weights."""
    wanted = dict.fromkeys(name for layer in subject.layers for name in (layer.activation, layer.name))
    source = Graph.read(subject.graph)
    with Tap(subject.graph, list(wanted)) as tap:
        found = {name: values.shape for name, values in tap.run(example.inputs[:1]).items()}
    return found | {layer.weight: tuple(source.weights[layer.weight].dims) for layer in subject.layers}


def race(subject: Subject, ranges: Ranges, example: Batch) -> dict[str, list[float]]:
    """{layer: [milliseconds in float, in INT8]} of every layer on this CPU, one window."""
    source = Graph.read(subject.graph)
    with Tap(subject.graph, [layer.activation for layer in subject.layers]) as tap:
        inputs = tap.run(example.inputs[:1])
    nodes = {node.output[0]: node for node in source.model.graph.node if node.output}
    known: dict[Any, list[float]] = {}
    found = {}
    for place, layer in enumerate(subject.layers):
        subject.steps("time of layers", place, len(subject.layers))
        node, values = nodes[layer.name], inputs[layer.activation]
        alike = _alike(node, layer, source, values)
        if alike not in known:
            known[alike] = _race(node, layer, source, ranges, values, subject.scratch)
        found[layer.name] = known[alike]
    return found


def _alike(node: Any, layer: Layer, source: Graph, values: np.ndarray) -> tuple[Any, ...]:
    """What decides how long a layer takes."""
    attributes = tuple(sorted(attribute.SerializeToString() for attribute in node.attribute))
    return node.op_type, attributes, values.shape, tuple(source.weights[layer.weight].dims), layer.bias is None


def _race(node: Any, layer: Layer, source: Graph, ranges: Ranges, values: np.ndarray, scratch: Path) -> list[float]:
    scheme = qdq.U8S8 if cpu.sums_in_32_bits() else qdq.U8U8
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        alone, integer = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        _write_alone(node, layer, source, values, alone)
        spans = {name: ranges.tensors[name] for name in (layer.activation, layer.name) if name in ranges.tensors}
        spans.setdefault(layer.name, (-1.0, 1.0))  # of no matter for the time
        own = Ranges(ranges_.fingerprint(alone), ranges.method, ranges.windows, spans)
        qdq.write(alone, own, scheme, integer)
        with OnnxRuntimeBackend(alone, threads=1) as first, OnnxRuntimeBackend(integer, threads=1) as second:
            calls = {str(backend.graph): partial(backend.infer_unchecked, values) for backend in (first, second)}
            slow, fast = latency.race(calls, seconds=SECONDS, warmup=1, least=5)
    return [slow.cpu_ms, fast.cpu_ms]


def _write_alone(node: Any, layer: Layer, source: Graph, values: np.ndarray, path: Path) -> None:
    onnx = require_onnx()
    parameters = [layer.weight] + ([layer.bias] if layer.bias else [])
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [make(layer.activation, onnx.TensorProto.FLOAT, values.shape)],
        [make(layer.name, onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(source.value(name), name) for name in parameters],
    )
    opset = source.model.opset_import
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=source.model.ir_version), path)
