"""GELU in torch's order becomes one node in ONNX Runtime, and not a bit of the result changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgebind.export import gelu, simplify
from edgebind.export.torch_onnx import to_onnx


class Layers(torch.nn.Module):
    """Two exact GELUs, and a product with a half that is none."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.gelu(torch.nn.functional.gelu(x) * 3)
        return torch.nn.functional.normalize(y * (0.5 * (1 + torch.sin(y))), dim=1)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "raw.onnx"
    to_onnx(Layers().eval(), np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32), path)
    return path


def _run(model: onnx.ModelProto, value: np.ndarray, options: onnxruntime.SessionOptions) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (found,) = session.run(None, {session.get_inputs()[0].name: value})
    return np.asarray(found)


def test_the_order_changes_and_no_bit_does(graph: Path) -> None:
    model = onnx.load(graph)
    before, value = onnx.load(graph), np.random.default_rng(1).normal(0, 3, size=(50, 40)).astype(np.float32)
    assert gelu.reorder(model) == 2
    assert gelu.reorder(model) == 0, "once is enough"
    onnx.checker.check_model(model)
    as_written = onnxruntime.SessionOptions()
    as_written.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    np.testing.assert_array_equal(_run(model, value, as_written), _run(before, value, as_written))


@pytest.mark.parametrize("large", [False, True])
def test_onnx_runtime_makes_one_node_of_what_was_simplified(
    graph: Path, tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(simplify, "LARGE", 0)
    out, optimised = tmp_path / "out.onnx", tmp_path / "optimised.onnx"
    simplify.simplify(graph, out)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(out), options)
    kinds = [node.op_type for node in onnx.load(optimised).graph.node]
    assert (kinds.count("Gelu"), kinds.count("Erf")) == (2, 0)


def test_a_product_that_somebody_else_reads_stays(graph: Path) -> None:
    model = onnx.load(graph)
    halves = {tensor.name for tensor in model.graph.initializer if onnx.numpy_helper.to_array(tensor).tolist() == 0.5}
    inner = next(node for node in model.graph.node if node.op_type == "Mul" and halves & set(node.input))
    model.graph.output.append(onnx.ValueInfoProto(name=inner.output[0]))
    assert gelu.reorder(model) == 1
