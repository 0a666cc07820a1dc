from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgebind.calibration import emulation, engine, gate, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.nearness import Nearness
from edgebind.calibration.subject import Subject
from edgebind.calibration.transforms import trial
from edgebind.export import parity
from edgebind.export.precision import survives_half, to_fp16
from edgebind.labels import LabelBank
from tests.calibration.transforms.conftest import make_transformer

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


@pytest.fixture
def half(mixed_graph: Path, tmp_path: Path) -> Path:
    assert to_fp16(mixed_graph, tmp_path / "encoder.onnx") == []
    return tmp_path / "encoder.onnx"


def types(path: Path) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, check_type=True).graph
    found = {item.name: item.type.tensor_type.elem_type for item in (*graph.value_info, *graph.input, *graph.output)}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_ends_and_sensitive_parts_stay_in_float32(half: Path) -> None:
    of = types(half)
    assert of["input"] == of["embedding"] == FLOAT
    for node in onnx.load(half).graph.node:
        if node.op_type in ("LayerNormalization", "Softmax", "ReduceL2"):
            assert of[node.output[0]] == FLOAT, node.op_type
        if node.op_type in ("Conv", "MatMul", "Gemm"):
            assert of[node.output[0]] == HALF, node.op_type


def test_every_node_has_one_precision(half: Path) -> None:
    of = types(half)
    for node in onnx.load(half).graph.node:
        kinds = {of[name] for name in (*node.input, *node.output) if of.get(name) in (FLOAT, HALF)}
        assert len(kinds) <= 1 or node.op_type in ("Cast", "Shape"), node


def test_fp16_is_fp32_to_three_digits(mixed_graph: Path, half: Path) -> None:
    batches = [Batch("x", parity.example((6, 64), "float32", batch=32))]
    reference = engine.embed(mixed_graph, batches, optimise=True)
    runs = [engine.embed(half, batches, optimise=optimise) for optimise in (False, True)]
    for vectors in (*runs, emulation.embed(half, batches)):
        assert gate.compare(reference, vectors, LabelBank.empty(24)).cosine_min > 0.9999


def test_a_constant_that_half_cannot_hold_keeps_its_node_in_float(mixed_graph: Path, tmp_path: Path) -> None:
    model = onnx.load(mixed_graph)
    product = next(node for node in model.graph.node if node.op_type == "Conv")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == product.input[1])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e7), tensor.name))
    onnx.save(model, tmp_path / "large.onnx")
    assert to_fp16(tmp_path / "large.onnx", tmp_path / "half.onnx") == [product.output[0]]


@pytest.mark.parametrize(
    ("value", "survives"),
    [
        ([0, 0], True),
        ([1e-9, 1], True),
        ([1e-9, 1e-12], False),
        ([65504], True),
        ([65600], False),
        ([-np.inf, 0], True),
    ],
)
def test_what_survives_half(value: list[float], survives: bool) -> None:
    assert survives_half(np.array(value, np.float32)) is survives


def test_fp16_builds_without_a_gpu(half: Path, compile_rtx: Callable[[Path], int]) -> None:
    assert compile_rtx(half) > 0


def test_int8_builds_without_a_gpu(mixed_graph: Path, compile_rtx: Callable[[Path], int], tmp_path: Path) -> None:
    batches = [Batch("x", parity.example((6, 64), "float32", batch=32))]
    qdq.write(mixed_graph, ranges.collect(mixed_graph, batches)["minmax"], qdq.TENSORRT, tmp_path / "encoder.onnx")
    assert compile_rtx(tmp_path / "encoder.onnx") > 0


@pytest.fixture
def mixed_int8(mixed_graph: Path, tmp_path: Path) -> Path:
    """The TensorRT graph of `mixed_graph`, its float parts in half."""
    batches = [Batch("x", parity.example((6, 64), "float32", batch=32))]
    qdq.write(mixed_graph, ranges.collect(mixed_graph, batches)["minmax"], qdq.TENSORRT, tmp_path / "int8.onnx")
    assert to_fp16(tmp_path / "int8.onnx", tmp_path / "mixed.onnx") == []
    return tmp_path / "mixed.onnx"


def test_around_int8_is_half(mixed_int8: Path) -> None:
    of = types(mixed_int8)
    model = onnx.load(mixed_int8)
    onnx.checker.check_model(model, full_check=True)
    assert {item.domain: item.version for item in model.opset_import}[""] == 19
    producers = {name: node for node in model.graph.node for name in node.output}
    integer = [
        n
        for n in model.graph.node
        if any(producers[i].op_type == "DequantizeLinear" for i in n.input if i in producers)
    ]
    assert len(integer) == 4
    for node in integer:
        assert of[node.output[0]] == HALF
        assert [producers[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2  # no Cast between
    assert of["input"] == of["embedding"] == FLOAT


def test_half_around_int8_changes_next_to_nothing(mixed_int8: Path) -> None:
    batches = [Batch("x", parity.example((6, 64), "float32", batch=32))]
    full = engine.embed(mixed_int8.with_name("int8.onnx"), batches, optimise=False)
    found = gate.compare(full, emulation.embed(mixed_int8, batches), LabelBank.empty(24))
    assert found.cosine_min > 0.9995
    assert found.cosine_mean > 0.9999


def test_int8_with_half_around_builds_without_a_gpu(mixed_int8: Path, compile_rtx: Callable[[Path], int]) -> None:
    assert compile_rtx(mixed_int8) > 0


def test_a_scale_that_half_cannot_hold_keeps_its_layer_in_float(mixed_int8: Path) -> None:
    full = mixed_int8.with_name("int8.onnx")
    model = onnx.load(full)
    dequantised = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    product = next(n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in dequantised)
    scale = next(t for t in model.graph.initializer if t.name == dequantised[product.input[1]].input[1])
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(1.0001), scale.name))
    onnx.save(model, full)
    assert to_fp16(full, mixed_int8) == [product.output[0]]
    assert types(mixed_int8)[product.output[0]] == FLOAT


def test_attention_in_int8_builds_with_half_around_it(compile_rtx: Callable[[Path], int], tmp_path: Path) -> None:
    """Q reads softmax in float32, and what it made is dequantised to half, so that no Cast stands before the product."""
    graph = make_transformer(tmp_path / "transformer.onnx")
    batches = [Batch("x", np.random.default_rng(2).normal(size=(16, 12, 32)).astype(np.float32))]
    qdq.write(graph, ranges.collect(graph, batches, attention=True)["minmax"], qdq.TENSORRT, tmp_path / "int8.onnx")
    assert to_fp16(tmp_path / "int8.onnx", tmp_path / "encoder.onnx") == []
    model = onnx.load(tmp_path / "encoder.onnx")
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    assert len(products) == 3 * 8 + 1
    assert {producers[name] for node in products for name in node.input} == {"DequantizeLinear"}
    assert compile_rtx(tmp_path / "encoder.onnx") > 0


def test_an_int8_graph_that_was_smoothed_and_corrected_builds(
    compile_rtx: Callable[[Path], int], tmp_path: Path
) -> None:
    graph = make_transformer(tmp_path / "transformer.onnx", outlier=80.0)
    batches = [Batch("x", np.random.default_rng(2).normal(size=(48, 12, 32)).astype(np.float32))]
    subject = Subject.of(graph, batches[0], LabelBank.empty(16), tmp_path, lambda stage: None)
    found, _ = trial.improve(Nearness(subject, batches), ranges.collect(graph, batches)["minmax"], batches)
    assert found.rewrites.scalings
    assert "raw" in found.rewrites.corrections  # the head, which has no bias of its own
    qdq.write(graph, found, qdq.TENSORRT, tmp_path / "int8.onnx")
    to_fp16(tmp_path / "int8.onnx", tmp_path / "encoder.onnx")
    assert compile_rtx(tmp_path / "encoder.onnx") > 0
    to_fp16(tmp_path / "int8.onnx", tmp_path / "kept.onnx", keep=["raw", "b1.mlp.fc1.product"])
    of, kept = types(tmp_path / "encoder.onnx"), types(tmp_path / "kept.onnx")
    for name in ("raw.uncorrected", "b1.mlp.fc1.product"):
        assert (of[name], kept[name]) == (HALF, FLOAT), name


def test_layers_that_the_ladder_returned_are_half_too(
    mixed_graph: Path, tmp_path: Path, compile_rtx: Callable[[Path], int]
) -> None:
    batches = [Batch("x", parity.example((6, 64), "float32", batch=32))]
    spans = ranges.collect(mixed_graph, batches)["minmax"]
    first, *_, last = (layer.name for layer in Graph.read(mixed_graph).layers)
    qdq.write(mixed_graph, spans, qdq.TENSORRT, tmp_path / "int8.onnx", keep=(first, last))
    assert to_fp16(tmp_path / "int8.onnx", tmp_path / "mixed.onnx") == []
    of, model = types(tmp_path / "mixed.onnx"), onnx.load(tmp_path / "mixed.onnx")
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            assert of[node.output[0]] == HALF
        if node.output[0] in (first, last):
            assert "DequantizeLinear" not in {producers.get(name) for name in node.input}
    assert compile_rtx(tmp_path / "mixed.onnx") > 0
