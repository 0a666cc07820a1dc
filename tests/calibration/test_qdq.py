from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgebind.calibration import engine, gate, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.ranges import Ranges
from edgebind.errors import CalibrationError
from edgebind.labels import LabelBank


@pytest.fixture
def spans(encoder: Path, walks: list[Batch]) -> Ranges:
    return ranges.collect(encoder, walks[:4])["minmax"]


def written(encoder: Path, spans: Ranges, scheme: qdq.Scheme, keep: tuple[str, ...] = ()) -> onnx.ModelProto:
    target = encoder.parent / scheme.file
    qdq.write(encoder, spans, scheme, target, keep)
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_grids_worked_by_hand() -> None:
    signed = qdq.activation_grid((-2.54, 1.0), qdq.TENSORRT)
    assert float(signed.scale) == pytest.approx(0.02, rel=1e-3)  # the next number that half holds
    assert signed.zero == np.int8(0)
    assert signed.zero.dtype.name == "int8"
    unsigned = qdq.activation_grid((-0.51, 2.04), qdq.U8S8)
    assert float(unsigned.scale) == pytest.approx(0.01)
    assert unsigned.zero == np.uint8(51)
    assert unsigned.zero.dtype.name == "uint8"
    assert int(qdq.activation_grid((1.0, 2.55), qdq.U8U8).zero) == 0  # zero is always on the grid
    assert np.isfinite(qdq.activation_grid((0.0, 0.0), qdq.U8U8).scale)


@pytest.mark.parametrize("scheme", qdq.SCHEMES)
@pytest.mark.parametrize("span", [(0.0, 0.0), (0.0, 1e-45), (-1e-45, 0.0), (-3e38, 3e38)])
def test_no_range_has_a_scale_of_zero_or_infinity(span: tuple[float, float], scheme: qdq.Scheme) -> None:
    assert 0 < qdq.activation_grid(span, scheme).scale < np.inf


def test_weights_worked_by_hand() -> None:
    weight = np.array([[127, -63.5], [0, 0]], np.float32) / 128  # a step of 1/128, which half holds
    integers, grid = qdq.quantise_weight(weight, 0, qdq.U8S8)
    assert integers.tolist() == [[127, -64], [0, 0]]
    assert grid.scale.tolist() == [1 / 128, 1]
    shifted, grid = qdq.quantise_weight(weight, 0, qdq.U8U8)
    assert shifted.tolist() == [[255, 64], [128, 128]]
    assert grid.zero.tolist() == [128, 128]


def test_all_schemes_store_the_same_integers(encoder: Path, spans: Ranges) -> None:
    """So one correction of biases suits all: what rounding loses is the same."""
    of = [
        numpy_helper.to_array(t)
        for s in qdq.SCHEMES
        for t in written(encoder, spans, s).graph.initializer
        if t.name == "w2.q8"
    ]
    np.testing.assert_array_equal(of[0], of[1])
    np.testing.assert_array_equal(of[0], of[2].astype(int) - 128)


def test_the_tensorrt_graph_is_symmetric_and_has_no_integer_bias(encoder: Path, spans: Ranges) -> None:
    model = written(encoder, spans, qdq.TENSORRT)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = weights[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    assert not any(value.dtype == np.int32 for value in weights.values())
    assert weights["w1.q8"].dtype == np.int8
    assert not {"w1", "w2", "w3", "w4"} & set(weights)


def test_only_what_layers_read_is_quantised(encoder: Path, spans: Ranges) -> None:
    model = written(encoder, spans, qdq.TENSORRT)
    quantised = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert quantised == {"input", "r1", "n", "f"}
    norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    assert list(norm.input) == ["t", "scale", "shift"]


def test_each_weight_channel_has_its_scale(encoder: Path, spans: Ranges) -> None:
    model = written(encoder, spans, qdq.TENSORRT)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    axes = {
        n.input[0]: onnx.helper.get_attribute_value(n.attribute[0]) for n in model.graph.node if n.name.startswith("w")
    }
    assert axes == {"w1.q8": 0, "w2.q8": 0, "w3.q8": 1, "w4.t.q8": 1}  # Gemm's weight is turned: MatMul wants (in, out)
    assert {name: weights[name].shape for name in weights if name.startswith("w") and name.endswith("scale")} == {
        "w1.scale": (8,), "w2.scale": (8,), "w3.scale": (8,), "w4.t.scale": (16,)
    }  # fmt: skip


def test_cpu_graphs_are_asymmetric_with_integer_biases(encoder: Path, spans: Ranges) -> None:
    for scheme, kind in ((qdq.U8S8, np.int8), (qdq.U8U8, np.uint8)):
        model = written(encoder, spans, scheme)
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        assert weights["w1.q8"].dtype == kind
        assert weights["c1.bias.q32"].dtype == np.int32
        assert weights["r1.zero"] == 0  # behind a ReLU the grid begins at zero, which lets the kernel absorb it
        assert weights["input.zero"].dtype == np.uint8


@pytest.mark.parametrize("scheme", qdq.SCHEMES, ids=lambda scheme: scheme.file)
@pytest.mark.parametrize("optimise", [False, True])
def test_int8_stays_close_to_fp32(
    encoder: Path, spans: Ranges, walks: list[Batch], scheme: qdq.Scheme, optimise: bool
) -> None:
    if scheme is qdq.U8S8 and optimise and not qdq_runs_here():
        pytest.skip("this processor's U8S8 kernels saturate")
    written(encoder, spans, scheme)
    reference = engine.embed(encoder, walks[4:], optimise=True)
    found = gate.compare(
        reference, engine.embed(encoder.parent / scheme.file, walks[4:], optimise=optimise), LabelBank.empty(16)
    )
    assert found.cosine_mean > 0.999
    assert found.cosine_p1 > 0.995


def qdq_runs_here() -> bool:
    from edgebind.calibration.ladder import runs_here

    return runs_here(qdq.U8S8)


def test_onnxruntime_runs_the_cpu_graph_in_integers(encoder: Path, spans: Ranges, tmp_path: Path) -> None:
    """The form of the graph is chosen for the optimiser; should a release stop fusing it, INT8 is slower than FP32."""
    import onnxruntime

    written(encoder, spans, qdq.U8U8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(str(encoder.parent / qdq.U8U8.file), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2
    assert {"MatMulIntegerToFloat", "QLinearMatMul"} & set(kinds)
    assert "QGemm" in kinds
    assert not {"Conv", "MatMul", "Gemm", "Relu"} & set(kinds)


def test_a_layer_that_is_kept_keeps_its_float_weight(encoder: Path, spans: Ranges) -> None:
    for scheme in qdq.SCHEMES:
        model = written(encoder, spans, scheme, keep=("m", "c1"))
        names = {tensor.name for tensor in model.graph.initializer}
        assert {"w3", "w1"} <= names
        assert not {"w3.q8", "w1.q8"} & names


def test_keeping_everything_is_fp32(encoder: Path, spans: Ranges, walks: list[Batch]) -> None:
    for scheme in qdq.SCHEMES:
        written(encoder, spans, scheme, keep=tuple(layer.name for layer in Graph.read(encoder).layers))
        same = engine.embed(encoder.parent / scheme.file, walks, optimise=False)
        np.testing.assert_allclose(same, engine.embed(encoder, walks, optimise=False), atol=1e-6)


def test_external_weights_are_read_one_by_one(encoder: Path, walks: list[Batch]) -> None:
    plain = ranges.collect(encoder, walks[:2])["minmax"]
    expected = written(encoder, plain, qdq.TENSORRT)
    onnx.save(onnx.load(encoder), encoder, save_as_external_data=True, location="w.data", size_threshold=100)
    spans = ranges.collect(encoder, walks[:2])["minmax"]
    assert spans.tensors == plain.tensors
    found = written(encoder, spans, qdq.TENSORRT)
    assert {t.name: numpy_helper.to_array(t).tolist() for t in found.graph.initializer} == {
        t.name: numpy_helper.to_array(t).tolist() for t in expected.graph.initializer
    }


def test_ranges_of_another_graph_are_refused(encoder: Path, spans: Ranges) -> None:
    onnx.save(onnx.load(encoder), encoder)  # the same bytes: still fine
    qdq.write(encoder, spans, qdq.TENSORRT, encoder.parent / "encoder.onnx")
    model = onnx.load(encoder)
    model.producer_name = "someone else"
    onnx.save(model, encoder)
    with pytest.raises(CalibrationError, match="another graph"):
        qdq.write(encoder, spans, qdq.TENSORRT, encoder.parent / "encoder.onnx")


@pytest.mark.parametrize("shape", [(1, 16), (1,), ()])
@pytest.mark.parametrize("scheme", qdq.SCHEMES, ids=lambda scheme: scheme.file)
def test_a_gemms_bias_may_have_any_shape_that_broadcasts_over_rows(
    encoder: Path, walks: list[Batch], scheme: qdq.Scheme, shape: tuple[int, ...]
) -> None:
    model = onnx.load(encoder)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b4")
    values = numpy_helper.to_array(bias).flat[: int(np.prod(shape))]
    bias.CopyFrom(numpy_helper.from_array(np.reshape(values, shape), "b4"))
    onnx.save(model, encoder)
    written(encoder, ranges.collect(encoder, walks[:4])["minmax"], scheme)
    reference = engine.embed(encoder, walks[4:], optimise=True)
    found = engine.embed(encoder.parent / scheme.file, walks[4:], optimise=False)
    assert gate.compare(reference, found, LabelBank.empty(16)).cosine_mean > 0.999


def test_a_bias_that_is_computed_leaves_its_layer_in_float(encoder: Path) -> None:
    model = onnx.load(encoder)
    model.graph.node.insert(0, onnx.helper.make_node("Abs", ["b4"], ["computed"]))
    next(node for node in model.graph.node if node.op_type == "Gemm").input[2] = "computed"
    onnx.save(model, encoder)
    assert [layer.name for layer in Graph.read(encoder).layers] == ["c1", "c2", "m"]


def test_macs_are_counted_for_one_window(encoder: Path, walks: list[Batch]) -> None:
    assert Graph.read(encoder).macs(walks[0].inputs[:1], encoder) == {
        "c1": 8 * 32 * 3 * 5,
        "c2": 8 * 32 * 8 * 3,
        "m": 32 * 8 * 8,
        "g": 16 * 256,
    }


def test_scales_of_tensorrt_fit_into_half() -> None:
    scales = np.array([0.02, 6e-8, 1e-9, 1.0, 3e-5, 65504.0, 1e6], np.float32)
    found = qdq.next_halves(scales)
    assert (found >= scales).all()
    np.testing.assert_array_equal(found[:-1], found[:-1].astype(np.float16).astype(np.float32))
    assert found[0] == pytest.approx(0.02, rel=1e-3)
    assert found[3:].tolist() == [1.0, pytest.approx(3e-5, rel=2e-3), 65504.0, 1e6]
    _, grid = qdq.quantise_weight(np.array([[0.3, -0.7]], np.float32), 0, qdq.TENSORRT)
    assert grid.scale == grid.scale.astype(np.float16)
