"""What a layer in INT8 saves, in microseconds: measured on this CPU, and estimated for a device with INT8 tensor cores.

Measured in ONNX Runtime, by the processor's time. A small encoder in INT8 races itself with each of its layers in float: that counts
what a layer breaks apart that was fused. Of a large one, each layer alone, as a graph of its own, races its INT8 version, and
layers of one shape share a race. Estimated: a roofline, the longer of computing and fetching, in FP16 and in INT8.

Estimates are stretched to this CPU's scale, so that they add up to what INT8 saves here in all; then the larger of the two counts. A
layer that this CPU computes no faster in INT8 is still one that a Jetson does.
"""

from __future__ import annotations

import contextlib
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
from edgebind.calibration.graph import Graph, Layer, Quantisable, require_onnx
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.subject import Subject

HALF_MACS_PER_US = 5.0e6
INT8_MACS_PER_US = 10.0e6
BYTES_PER_US = 68.0e3
"""Of a Jetson Orin Nano 8 GB as NVIDIA's data sheet gives it: 20 dense INT8 TOPS, half as many in FP16, 68 GB/s."""

SECONDS = 0.1
"""Of a race, for each that takes part."""
WHOLE = ""
"""Stands for the whole encoder among the names of layers."""
SMALL = 200_000_000
"""Bytes of weights, over as many graphs as there are layers, that may be loaded at once."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Time that INT8 saves in one layer and one window."""

    microseconds: float
    basis: str
    """`measured` on this CPU, or `estimated` for a device, on this CPU's scale, where that is more."""


def savings(
    subject: Subject, times: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Saving]:
    """What each layer saves.

    Parameters
    ----------
    times: {layer: (milliseconds in float, in INT8)} and that of `WHOLE` from `race`; a layer may be missing.
    shapes: of the layers' inputs and outputs, one window, and of their weights.
    """
    estimates = {layer.name: _estimate(layer, subject.macs[layer.name], shapes) for layer in subject.layers}
    measured = {name: (slow - fast) * 1000 for name, (slow, fast) in times.items()}
    scale = max(1.0, measured.get(WHOLE, 0.0) / max(sum(estimates.values()), 1e-9))
    return {name: _larger(measured.get(name, 0.0), estimate * scale) for name, estimate in estimates.items()}


def _larger(measured: float, estimated: float) -> Saving:
    return Saving(measured, "measured") if measured > estimated else Saving(estimated, "estimated")


def _estimate(layer: Quantisable, macs: int, shapes: Mapping[str, tuple[int, ...]]) -> float:
    return estimate(macs, sum(int(np.prod(shapes[name])) for name in (*layer.reads, layer.name)))


def estimate(macs: int, values: int) -> float:
    """Microseconds that INT8 saves against FP16 on a device: `macs` products, `values` numbers read or written."""
    half = max(macs / HALF_MACS_PER_US, 2 * values / BYTES_PER_US)
    return half - max(macs / INT8_MACS_PER_US, values / BYTES_PER_US)


def shapes(subject: Subject, example: Batch) -> dict[str, tuple[int, ...]]:
    """{tensor: shape} of what layers read and write, one window, and of their weights."""
    source = Graph.read(subject.graph)
    names = dict.fromkeys(name for layer in subject.layers for name in (*layer.reads, layer.name))
    wanted = [name for name in names if name not in source.weights]
    with Tap(subject.graph, wanted) as tap:
        found = {name: values.shape for name, values in tap.run(example.inputs[:1]).items()}
    return found | {name: tuple(source.weights[name].dims) for name in names if name in source.weights}


def race(subject: Subject, ranges: Ranges, example: Batch) -> dict[str, list[float]]:
    """{layer: [milliseconds in float, in INT8]} of every layer and of `WHOLE` on this CPU, one window."""
    source = Graph.read(subject.graph)
    weights = sum(int(np.prod(source.weights[layer.weight].dims)) for layer in subject.weighted)
    if weights * (1 + len(subject.layers)) <= SMALL:
        return _race_encoders(subject, ranges, example)
    return _race_layers(subject, source, ranges, example)


def _race_encoders(subject: Subject, ranges: Ranges, example: Batch) -> dict[str, list[float]]:
    """The whole encoder with all layers in float, with one, and with none."""
    names = [layer.name for layer in subject.layers]
    subject.progress(f"time of {len(names)} layers")
    choices: dict[str, Sequence[str]] = {"none": (), WHOLE: names} | {name: (name,) for name in names}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=subject.scratch)))
        calls = {}
        for place, (title, keep) in enumerate(choices.items()):
            graph = folder / f"{place}.onnx"
            qdq.write(subject.graph, ranges, _fast(), graph, keep)
            backend = stack.enter_context(OnnxRuntimeBackend(graph, threads=1))
            calls[title] = partial(backend.infer_unchecked, example.inputs[:1])
        whole, *rows = latency.race(calls, seconds=SECONDS * len(calls), warmup=2, least=5)
    return {row.name: [row.cpu_ms, whole.cpu_ms] for row in rows}


def _fast() -> qdq.Scheme:
    return qdq.U8S8 if cpu.sums_in_32_bits() else qdq.U8U8


def _race_layers(subject: Subject, source: Graph, ranges: Ranges, example: Batch) -> dict[str, list[float]]:
    with Tap(subject.graph, [layer.activation for layer in subject.weighted]) as tap:
        inputs = tap.run(example.inputs[:1])
    nodes = {node.output[0]: node for node in source.model.graph.node if node.output}
    known: dict[Any, list[float]] = {}
    found = {}
    for place, layer in enumerate(subject.weighted):  # attention's products alone are no graph of one input
        subject.steps("time of layers", place, len(subject.weighted))
        node, values = nodes[layer.name], inputs[layer.activation]
        alike = _alike(node, layer, source, values)
        if alike not in known:
            known[alike] = _race(node, layer, source, ranges, values, subject.scratch)
        found[layer.name] = known[alike]
    return found | {WHOLE: [sum(column) for column in zip(*found.values(), strict=True)]}


def _alike(node: Any, layer: Layer, source: Graph, values: np.ndarray) -> tuple[Any, ...]:
    """What decides how long a layer takes."""
    attributes = tuple(sorted(attribute.SerializeToString() for attribute in node.attribute))
    return node.op_type, attributes, values.shape, tuple(source.weights[layer.weight].dims), layer.bias is None


def _race(node: Any, layer: Layer, source: Graph, ranges: Ranges, values: np.ndarray, scratch: Path) -> list[float]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        alone, integer = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        _write_alone(node, layer, source, values, alone)
        spans = {name: ranges.tensors[name] for name in (layer.activation, layer.name) if name in ranges.tensors}
        spans.setdefault(layer.name, (-1.0, 1.0))  # of no matter for the time
        own = Ranges(ranges_.fingerprint(alone), ranges.method, ranges.windows, spans)
        qdq.write(alone, own, _fast(), integer)
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
