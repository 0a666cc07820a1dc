"""The benchmark of quantisers: one way of counting for all, and peers that really quantise."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgebind.benchmarks import int8_peers, quantisers
from edgebind.benchmarks.int8_peers import LAYERS_ONLY, ModelOptimizer, OrtPeer
from edgebind.calibration import gate, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.subject import Subject
from edgebind.export.precision import to_fp16
from edgebind.labels import LabelBank
from tests.calibration.conftest import make_encoder, make_walk


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return make_encoder(tmp_path / "encoder.fp32.onnx")


@pytest.fixture
def walks() -> list[Batch]:
    return [make_walk(place) for place in range(3)]


@pytest.mark.parametrize("keep", [(), ("c2",), ("c1", "g"), ("c1", "c2", "m", "g")])
@pytest.mark.parametrize("half", [False, True])
def test_the_share_of_a_written_graph_is_what_the_ladder_counts(
    encoder: Path, walks: list[Batch], tmp_path: Path, keep: tuple[str, ...], half: bool
) -> None:
    subject = Subject.of(encoder, walks[0], LabelBank.empty(16), tmp_path, lambda _: None)
    qdq.write(encoder, ranges.collect(encoder, walks[:1])["minmax"], qdq.TENSORRT, tmp_path / "int8.onnx", keep)
    if half:
        to_fp16(tmp_path / "int8.onnx", tmp_path / "int8.onnx")
    assert quantisers.int8_share(tmp_path / "int8.onnx", walks[0].inputs) == pytest.approx(subject.share(keep))


def test_both_factors_must_be_integers(tmp_path: Path) -> None:
    # x -> Q -> DQ -> Transpose -> MatMul with itself behind Q and DQ: counts; with the float x: does not.
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Transpose", ["d"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["d", "t"], ["both"]),
        helper.make_node("MatMul", ["both", "x"], ["one"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8])],
        [helper.make_tensor_value_info("one", TensorProto.FLOAT, [1, 4, 8])],
        [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(0), "z")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "g.onnx")
    share = quantisers.int8_share(tmp_path / "g.onnx", np.ones((1, 4, 8), np.float32))
    assert share == pytest.approx(4 * 4 * 8 / (4 * 4 * 8 + 4 * 8 * 4))


@pytest.mark.parametrize("signed", [False, True])
def test_onnx_runtime_quantises_the_same_layers(
    encoder: Path, walks: list[Batch], tmp_path: Path, signed: bool
) -> None:
    target = tmp_path / "peer.onnx"
    OrtPeer("MinMax", signed, LAYERS_ONLY).write(encoder, walks[0].inputs, target)
    assert quantisers.int8_share(target, walks[0].inputs) == 1
    kinds = {tensor.data_type for tensor in onnx.load(target).graph.initializer}
    assert (TensorProto.UINT8 in kinds) is not signed


@pytest.mark.slow
def test_ours_and_theirs_stand_in_one_table(encoder: Path, walks: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_peers, "ort_peers", lambda: [OrtPeer("MinMax", True, LAYERS_ONLY)])
    subject = quantisers.Subject("tiny", encoder, walks[:2], walks[2:], LabelBank.empty(16))
    rows = quantisers.compare(subject, None, gate.INT8)
    assert [row.name.split(",")[0] for row in rows] == ["edgebind", "edgebind", "ONNX Runtime minmax S8S8"]
    assert all(row.int8_mac_share == 1 for row in rows)
    assert all(row.cosine_mean > 0.99 for row in rows)
    assert rows[0].cpu_ms is None  # FP16 around INT8 is for TensorRT
    assert rows[1].cpu_ms is not None


@pytest.mark.slow
def test_model_optimizer_quantises(encoder: Path, walks: list[Batch], tmp_path: Path) -> None:
    folder = os.environ.get("EDGEBIND_MODELOPT")
    if folder is None:
        pytest.skip("no environment of Model Optimizer; set EDGEBIND_MODELOPT to its folder")
    ModelOptimizer("max", Path(folder)).write(encoder, walks[0].inputs, tmp_path / "peer.onnx")
    assert quantisers.int8_share(tmp_path / "peer.onnx", walks[0].inputs) > 0
