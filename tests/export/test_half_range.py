"""Encoders with one tensor that half cannot hold: found, named, kept in float32, and right again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgebind.calibration import emulation, engine
from edgebind.calibration.batches import Batch
from edgebind.export import half_range
from edgebind.export.half_range import Spread
from edgebind.export.precision import to_fp16
from tests.calibration.transforms.conftest import Writer, make_reader

TOKENS, WIDTH = 8, 16


def make(path: Path, *, large: float = 1.0, small: float = 1.0) -> Path:
    """Two linear layers with a detour between them: times `large` and back, and times `small` twice and back.

    Every constant fits into half, so only what windows make of them tells.
    """
    random, add = np.random.default_rng(0), Writer()
    add("MatMul", ["input", add.constant("first.weight", random.normal(size=(WIDTH, WIDTH)) / 4)], "first")
    last = "first"
    for place, factor in enumerate((large, 1 / large, small, small, 1 / small, 1 / small)):
        last = add("Mul", [last, add.constant(f"factor_{place}", factor)], f"detour_{place}")
    add(
        "LayerNormalization",
        [last, add.constant("scale", np.ones(WIDTH)), add.constant("shift", np.ones(WIDTH))],
        "norm",
    )
    add("MatMul", ["norm", add.constant("second.weight", random.normal(size=(WIDTH, WIDTH)))], "second")
    add("Reshape", ["second", add.constant("flat", np.array([-1, TOKENS * WIDTH]))], "row")
    add("MatMul", ["row", add.constant("head.weight", random.normal(size=(TOKENS * WIDTH, 8)))], "raw")
    add("LpNormalization", ["raw"], "embedding", axis=1, p=2)
    return add.save(path, [TOKENS, WIDTH], [8])


@pytest.fixture
def batches() -> list[Batch]:
    random = np.random.default_rng(1)
    return [Batch(f"r{i}", random.normal(size=(6, TOKENS, WIDTH)).astype(np.float32)) for i in range(3)]


def evaluated(graph: Path, inputs: np.ndarray) -> np.ndarray:
    outputs: Any = ReferenceEvaluator(onnx.load(graph)).run(None, {"input": inputs})
    return np.asarray(outputs[0])


def drift(graph: Path, half: Path, batches: list[Batch]) -> float:
    """1 - least cosine, computed by NumPy: ONNX Runtime has no half on a CPU, and leaves out the casts around float32."""
    inputs = np.concatenate([batch.inputs for batch in batches])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact, rounded = (evaluated(path, inputs) for path in (graph, half))
    return float(1 - np.einsum("ij,ij->i", exact, rounded).min())


def test_a_spread_worked_by_hand() -> None:
    of = Spread()
    of.update(np.array([3.0, 0.0, -np.inf, 2.0**-20, 2.0**-26], np.float32))
    assert of.largest == 3
    assert of.subnormal == pytest.approx(2 / 3)
    assert of.zeroed == pytest.approx(1 / 3)  # halfway to the least half, 2**-24, is 2**-25
    assert of.error == pytest.approx(2.0**-26 / 3, rel=1e-3)  # 3 and 2**-20 are halves
    assert of.danger is None  # small values beside large ones cost nothing
    of.update(np.array([1.5 * 2.0**-24, 2.0**-24], np.float32))  # the first becomes 2 x 2**-24
    assert of.error == pytest.approx(0.5 / np.hypot(1.5, 1), rel=1e-6)
    assert of.danger == "loss"
    of.update(np.array([20000.0], np.float32))
    assert of.danger == "overflow"  # four times as much would be
    assert of.largest == 20000


def test_what_fits_is_left_alone(tmp_path: Path, batches: list[Batch]) -> None:
    assert half_range.find(make(tmp_path / "g.onnx"), batches) == []


def test_what_overflows_is_named_and_kept(
    tmp_path: Path, batches: list[Batch], compile_rtx: Callable[[Path], int]
) -> None:
    graph = make(tmp_path / "g.onnx", large=60000.0)
    found = half_range.find(graph, batches)
    assert [hazard.tensor for hazard in found] == ["detour_0"]
    (hazard,) = found
    values = np.concatenate([batch.inputs for batch in batches])
    weight = next(t for t in onnx.load(graph).graph.initializer if t.name == "first.weight")
    largest = np.abs(values @ onnx.numpy_helper.to_array(weight)).max() * 60000
    assert hazard.largest == pytest.approx(largest, rel=1e-5)
    assert str(hazard) == f"detour_0 (Mul) because max {largest:.2g}"
    assert hazard.nodes == ("detour_0", "detour_1")  # what returns it, and what reads it
    assert to_fp16(graph, tmp_path / "naive.onnx") == []
    assert not drift(graph, tmp_path / "naive.onnx", batches) < 0.5  # no number at all
    to_fp16(graph, tmp_path / "half.onnx", hazard.nodes)
    assert drift(graph, tmp_path / "half.onnx", batches) < 1e-5
    assert floats(tmp_path / "half.onnx") == {"detour_0", "detour_1", "norm", "embedding"}
    assert compile_rtx(tmp_path / "half.onnx") > 0


def floats(path: Path) -> set[str]:
    """Nodes that return float32, beside casts."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    of = {item.name: item.type.tensor_type.elem_type for item in (*graph.value_info, *graph.output)}
    return {n.output[0] for n in graph.node if n.op_type != "Cast" and of[n.output[0]] == onnx.TensorProto.FLOAT}


def test_what_becomes_zero_is_named_and_kept(tmp_path: Path, batches: list[Batch]) -> None:
    graph = make(tmp_path / "g.onnx", small=2.0**-12)
    found = {hazard.tensor: hazard for hazard in half_range.find(graph, batches)}
    assert found.keys() == {"detour_3"}
    assert found["detour_3"].danger == "loss"
    assert found["detour_3"].zeroed > 0.2
    assert found["detour_3"].nodes == ("detour_3", "detour_4")
    assert "detour_3 (Mul) because half loses" in str(found["detour_3"])
    to_fp16(graph, tmp_path / "naive.onnx")
    to_fp16(graph, tmp_path / "half.onnx", found["detour_3"].nodes)
    assert drift(graph, tmp_path / "naive.onnx", batches) > 0.01
    assert drift(graph, tmp_path / "half.onnx", batches) < 1e-5


def test_one_quiet_recording_is_enough(tmp_path: Path, batches: list[Batch]) -> None:
    quiet = Batch("quiet", batches[0].inputs * np.float32(1e-6))
    assert half_range.find(make(tmp_path / "g.onnx"), [*batches, quiet])[0].danger == "loss"


def test_an_input_that_is_too_large_is_named(tmp_path: Path, batches: list[Batch]) -> None:
    loud = [Batch(batch.recording, batch.inputs * np.float32(30000)) for batch in batches]
    first = half_range.find(make(tmp_path / "g.onnx"), loud)[0]
    assert (first.node, first.op, first.nodes) == ("input", "input", ("first",))


def test_masks_and_token_ids_are_no_hazard(tmp_path: Path) -> None:
    graph = make_reader(tmp_path / "reader.onnx")
    batches = [Batch("x", np.random.default_rng(0).integers(0, 50, size=(16, 12)))]
    assert half_range.find(graph, batches) == []
    assert to_fp16(graph, tmp_path / "half.onnx") == []
    exact, found = engine.embed(graph, batches, optimise=True), emulation.embed(tmp_path / "half.onnx", batches)
    assert 0.9999 < np.einsum("ij,ij->i", exact, found).min() < 0.99999999
