"""ImageBind's towers with attention in INT8: every kind of attention builds, with nothing but integers in its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgebind.benchmarks.builds import imagebind_graphs
from edgebind.benchmarks.quantisers import int8_share
from edgebind.calibration import emulation, engine, gate, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.export import parity
from edgebind.export.precision import to_fp16
from edgebind.labels import LabelBank

pytest.importorskip("torch")
pytest.importorskip("onnxscript")


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["imu", "text"])  # one more key and value; a mask, and another token for each text
def test_a_narrow_tower_builds_with_attention_in_int8(
    modality: str, compile_rtx: Callable[[Path], int], tmp_path: Path
) -> None:
    from edgebind.models.imagebind import ARCHITECTURES

    size = replace(ARCHITECTURES[modality], width=64, heads=2, depth=2)
    graph = imagebind_graphs(modality, tmp_path, size)["fp32"]
    batches = [Batch("synthetic signals", parity.example_of(modality))]
    found = ranges.collect(graph, batches, attention=True)["minmax"]
    qdq.write(graph, found, qdq.TENSORRT, tmp_path / "in-float.onnx")
    assert to_fp16(tmp_path / "in-float.onnx", tmp_path / "encoder.onnx") == []
    assert int8_share(tmp_path / "encoder.onnx", batches[0].inputs) == 1.0
    operators = [node.op_type for node in onnx.load(tmp_path / "encoder.onnx").graph.node]
    assert operators.count("Softmax") == size.depth
    fp32 = engine.embed(graph, batches, optimise=True)
    drift = gate.compare(fp32, emulation.embed(tmp_path / "encoder.onnx", batches), LabelBank.empty(1024))
    assert drift.cosine_mean > 0.99
    assert np.isfinite(fp32).all()
    assert compile_rtx(tmp_path / "encoder.onnx") > 0
