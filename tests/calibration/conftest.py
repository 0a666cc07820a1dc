"""A tiny encoder without torch: Conv-ReLU-Conv, LayerNorm, MatMul and Gemm, unit rows; and signals for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgebind.calibration.batches import Batch
from edgebind.labels import LabelBank

CHANNELS, LENGTH, WIDTH, DIM = 3, 32, 8, 16


def make_encoder(path: Path, *, outlier: float = 0.0, peak: float = 0.0, seed: int = 0) -> Path:
    """An encoder with two ways to be spoilt.

    outlier: shifts one channel before the MatMul far from the rest, which 8 bits per tensor cannot hold. It is added behind
        the LayerNorm, where no transform can scale it away.
    peak: shifts one channel of what the second Conv writes, which is masked out at once: nobody reads it in 8 bits.
    """
    random = np.random.default_rng(seed)
    shift = np.zeros(WIDTH, np.float32)
    shift[0] = outlier
    weights: dict[str, np.ndarray] = {
        "w1": random.normal(size=(WIDTH, CHANNELS, 5)) / 4,
        "b1": random.normal(size=WIDTH) / 4,
        "w2": random.normal(size=(WIDTH, WIDTH, 3)) / 5,
        "b2": random.normal(size=WIDTH) / 4,
        "scale": np.ones(WIDTH),
        "shift": np.zeros(WIDTH),
        "outlier": shift,
        "w3": random.normal(size=(WIDTH, WIDTH)),
        "w4": random.normal(size=(DIM, WIDTH * LENGTH)) / 8,
        "b4": random.normal(size=DIM) / 4,
    }
    if outlier:
        weights["w3"][0] = 0  # nothing of the outlier is wanted, so all it does is to coarsen the others' grid
    weights["b2"][0] += peak
    mask = np.ones((1, WIDTH, 1))
    mask[0, 0] = not peak
    weights["mask"] = mask
    shape = numpy_helper.from_array(np.array([-1, WIDTH * LENGTH], np.int64), "flat")
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    make = helper.make_node
    nodes = [
        make("Conv", ["input", "w1", "b1"], ["c1"], pads=[2, 2]),
        make("Relu", ["c1"], ["r1"]),
        make("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1]),
        make("Mul", ["c2", "mask"], ["masked"]),
        make("Transpose", ["masked"], ["t"], perm=[0, 2, 1]),
        make("LayerNormalization", ["t", "scale", "shift"], ["normed" if outlier else "n"]),
        *([make("Add", ["normed", "outlier"], ["n"])] if outlier else []),
        make("MatMul", ["n", "w3"], ["m"]),
        make("Reshape", ["m", "flat"], ["f"]),
        make("Gemm", ["f", "w4", "b4"], ["g"], transB=1),
        make("ReduceL2", ["g", "axes"], ["length"], keepdims=1),
        make("Div", ["g", "length"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", CHANNELS, LENGTH])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items() if outlier or k != "outlier"]
        + [shape, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return make_encoder(tmp_path / "encoder.fp32.onnx")


@pytest.fixture
def spoilt_encoder(tmp_path: Path) -> Path:
    return make_encoder(tmp_path / "encoder.fp32.onnx", outlier=3000.0)


@pytest.fixture
def walks() -> list[Batch]:
    """Six recordings of twenty windows."""
    return [make_walk(place) for place in range(6)]


def make_walk(place: int) -> Batch:
    random = np.random.default_rng(100 + place)
    steps = random.normal(size=(20, CHANNELS, LENGTH)).cumsum(axis=2) / 3
    return Batch(f"walk_{place}", steps.astype(np.float32))


@pytest.fixture
def bank() -> LabelBank:
    vectors = np.random.default_rng(7).normal(size=(5, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return LabelBank(("a", "b", "c", "d", "e"), vectors)
