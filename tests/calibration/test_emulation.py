"""FP16 as it is stored, on a CPU that has none: against NumPy, which computes in half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgebind.calibration import emulation, engine, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.errors import BackendError
from edgebind.export.precision import to_fp16
from tests.calibration.transforms.conftest import Writer


def lines(path: Path, factor: float) -> Path:
    add = Writer()
    add("Mul", ["input", add.constant("large", factor)], "product")
    add("Reshape", ["product", add.constant("flat", np.array([-1, 8]))], "row")
    add("Mul", ["row", add.constant("small", 1 / factor)], "back")
    add("MatMul", ["back", add.constant("eye", np.eye(8))], "raw")
    add("LpNormalization", ["raw"], "embedding", axis=1, p=2)
    return add.save(path, [2, 4], [8])


def test_each_node_rounds_once_worked_by_hand(tmp_path: Path) -> None:
    to_fp16(lines(tmp_path / "g.onnx", 3.0), tmp_path / "half.onnx")
    emulation.write(tmp_path / "half.onnx", tmp_path / "emulated.onnx")
    inputs = np.random.default_rng(0).normal(size=(5, 2, 4)).astype(np.float32)
    half = np.float16
    expected = (((inputs.astype(half) * half(3.0)) * half(1 / 3)).reshape(5, 8)).astype(np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = engine.embed(tmp_path / "emulated.onnx", [Batch("x", inputs)], optimise=True)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_an_overflow_shows_that_onnxruntime_hides(tmp_path: Path) -> None:
    to_fp16(lines(tmp_path / "g.onnx", 60000.0), tmp_path / "half.onnx")
    batches = [Batch("x", np.full((3, 2, 4), 2, np.float32))]
    engine.embed(tmp_path / "half.onnx", batches, optimise=False)  # should this fail one day, half is computed in half
    with pytest.raises(BackendError):
        emulation.embed(tmp_path / "half.onnx", batches)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.onnx", "half.onnx"]


@pytest.mark.parametrize("quantised", [False, True])
def test_a_whole_encoder_is_as_near_as_half_to_numpys(
    encoder: Path, walks: list[Batch], tmp_path: Path, quantised: bool
) -> None:
    """NumPy sums products in half too, so it errs more; both err by the same order, and nowhere near each other's FP32."""
    source = encoder
    if quantised:
        source = tmp_path / "int8.onnx"
        qdq.write(encoder, ranges.collect(encoder, walks[:4])["minmax"], qdq.TENSORRT, source)
    to_fp16(source, tmp_path / "half.onnx")
    exact = engine.embed(source, walks[:1], optimise=False)
    found = emulation.embed(tmp_path / "half.onnx", walks[:1])
    model = onnx.load(tmp_path / "half.onnx")
    outputs: Any = ReferenceEvaluator(model).run(None, {"input": walks[0].inputs})
    error = np.abs(found - exact).mean()
    assert 1e-6 < error < 3e-3
    assert error < 2 * np.abs(np.asarray(outputs[0]) - exact).mean()
