"""A small transformer without torch whose LayerNorms may have outlier channels, and token-like windows for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgebind.calibration.batches import Batch

TOKENS, WIDTH, HIDDEN, BLOCKS = 12, 32, 64, 3
OUTLIERS = (3, 17, 28)


class Writer:
    """Nodes and constants of a graph, written one after the other."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def __call__(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        array = np.asarray(value)
        self.constants[name] = array if array.dtype.kind == "i" else array.astype(np.float32)
        return name

    def save(self, path: Path, shape: list[int], output: list[int], kind: int = TensorProto.FLOAT) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "made",
            [helper.make_tensor_value_info("input", kind, ["batch", *shape])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", *output])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path


def make_transformer(path: Path, *, outlier: float = 1.0, seed: int = 0) -> Path:
    """Pre-norm blocks of attention and MLP over (batch, 12, 32).

    outlier: the LayerNorms return three channels that many times too large, always the same ones, and the weights behind
    are that many times smaller there: as in trained transformers (Bondarenko et al. 2021, Xiao et al. 2023). In FP32 the
    encoder is the same whatever it is.
    """
    random, add = np.random.default_rng(seed), Writer()
    planted = np.ones(WIDTH)
    planted[list(OUTLIERS)] = outlier
    tokens = "input"
    for block in range(BLOCKS):
        tokens = _attend(add, random, f"b{block}.attn", tokens, planted)
        tokens = _think(add, random, f"b{block}.mlp", tokens, planted)
    add("ReduceMean", [tokens, add.constant("places", np.array([1]))], "pooled", keepdims=0)
    add("MatMul", ["pooled", add.constant("head", random.normal(size=(WIDTH, 16)))], "raw")
    add("LpNormalization", ["raw"], "embedding", axis=1, p=2)
    return add.save(path, [TOKENS, WIDTH], [16])


def _normed(add: Writer, random: np.random.Generator, name: str, tokens: str, planted: np.ndarray) -> str:
    scale = add.constant(f"{name}.scale", (1 + random.normal(size=WIDTH) / 10) * planted)
    shift = add.constant(f"{name}.shift", random.normal(size=WIDTH) / 5 * planted)
    return add("LayerNormalization", [tokens, scale, shift], f"{name}.normed")


def _linear(
    add: Writer, random: np.random.Generator, name: str, read: str, size: tuple[int, int], planted: np.ndarray | float
) -> str:
    weight = random.normal(size=size) / np.sqrt(size[0]) / np.reshape(planted, (-1, 1))
    product = add("MatMul", [read, add.constant(f"{name}.w", weight)], f"{name}.product")
    return add("Add", [product, add.constant(f"{name}.b", random.normal(size=size[1]) / 5)], f"{name}.out")


def _attend(
    add: Writer, random: np.random.Generator, name: str, tokens: str, planted: np.ndarray, mask: str | None = None
) -> str:
    normed = _normed(add, random, name, tokens, planted)
    query, key, value = (
        _linear(add, random, f"{name}.{part}", normed, (WIDTH, WIDTH), planted) for part in ("q", "k", "v")
    )
    add("Transpose", [key], f"{name}.turned", perm=[0, 2, 1])
    add("MatMul", [query, f"{name}.turned"], f"{name}.scores")
    add("Mul", [f"{name}.scores", add.constant(f"{name}.root", WIDTH**-0.5)], f"{name}.scaled")
    scores = add("Add", [f"{name}.scaled", mask], f"{name}.masked") if mask else f"{name}.scaled"
    add("Softmax", [scores], f"{name}.weights", axis=-1)
    mixed = add("MatMul", [f"{name}.weights", value], f"{name}.mixed")
    return add("Add", [tokens, _linear(add, random, f"{name}.o", mixed, (WIDTH, WIDTH), 1.0)], f"{name}.sum")


def _think(add: Writer, random: np.random.Generator, name: str, tokens: str, planted: np.ndarray) -> str:
    hidden = _linear(add, random, f"{name}.fc1", _normed(add, random, name, tokens, planted), (WIDTH, HIDDEN), planted)
    add("Relu", [hidden], f"{name}.relu")
    add("Mul", [f"{name}.relu", f"{name}.relu"], f"{name}.squared")  # no scale passes here
    add("Mul", [f"{name}.squared", add.constant(f"{name}.quarter", 0.25)], f"{name}.act")
    return add("Add", [tokens, _linear(add, random, f"{name}.fc2", f"{name}.act", (HIDDEN, WIDTH), 1.0)], f"{name}.sum")


def make_reader(path: Path) -> Path:
    """Token ids -> embeddings, masked attention, MLP; the vector of the largest id's place, as CLIP's text tower has it."""
    random, add = np.random.default_rng(3), Writer()
    tokens = add("Gather", [add.constant("vocabulary", random.normal(size=(50, WIDTH))), "input"], "words")
    mask = add.constant("mask", np.triu(np.full((TOKENS, TOKENS), -np.inf), 1))
    tokens = _attend(add, random, "b0.attn", tokens, np.ones(WIDTH), mask)
    tokens = _think(add, random, "b0.mlp", tokens, np.ones(WIDTH))
    add("ArgMax", ["input"], "end", axis=1, keepdims=1)
    add("Unsqueeze", ["end", add.constant("last", np.array([2]))], "place")
    add("Shape", [tokens], "size")
    add("Slice", ["size", add.constant("two", np.array([2])), add.constant("three", np.array([3]))], "width")
    add("Concat", [add.constant("ones", np.array([1, 1])), "width"], "wide", axis=0)
    add("Expand", ["place", "wide"], "places_")
    add("GatherElements", [tokens, "places_"], "chosen", axis=1)
    add("Squeeze", ["chosen", add.constant("one", np.array([1]))], "sentence")
    add("MatMul", ["sentence", add.constant("head", random.normal(size=(WIDTH, 16)))], "raw")
    add("LpNormalization", ["raw"], "embedding", axis=1, p=2)
    return add.save(path, [TOKENS], [16], TensorProto.INT64)


def make_convolutions(path: Path) -> Path:
    """Conv, ReLU, depthwise Conv, LeakyReLU, pool, pointwise Conv, and a head; channels reach very unequally far."""
    random, add = np.random.default_rng(1), Writer()
    reach = 10 ** random.uniform(-1.5, 1.5, size=(2, 16))
    first = random.normal(size=(16, 3, 3)) * reach[0][:, None, None]
    depthwise = random.normal(size=(16, 1, 5)) * (reach[1] / reach[0])[:, None, None]
    pointwise = random.normal(size=(8, 16, 1)) / reach[1][None, :, None]
    bias = [
        add.constant(f"b{i}", random.normal(size=n) * r) for i, (n, r) in enumerate([(16, reach[0]), (16, reach[1])])
    ]
    add("Conv", ["input", add.constant("w0", first), bias[0]], "c0", pads=[1, 1])
    add("Relu", ["c0"], "r0")
    add("Conv", ["r0", add.constant("w1", depthwise), bias[1]], "c1", group=16, pads=[2, 2])
    add("LeakyRelu", ["c1"], "r1", alpha=0.1)
    add("MaxPool", ["r1"], "p1", kernel_shape=[2], strides=[2])
    add("Conv", ["p1", add.constant("w2", pointwise)], "c2")
    add("ReduceMean", ["c2", add.constant("places", np.array([2]))], "pooled", keepdims=0)
    add("LpNormalization", ["pooled"], "embedding", axis=1, p=2)
    return add.save(path, [3, 32], [8])


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    return make_transformer(tmp_path / "transformer.onnx")


@pytest.fixture
def outlying(tmp_path: Path) -> Path:
    return make_transformer(tmp_path / "outlying.onnx", outlier=80.0)


@pytest.fixture
def convolutions(tmp_path: Path) -> Path:
    return make_convolutions(tmp_path / "convolutions.onnx")


@pytest.fixture
def windows() -> Callable[..., list[Batch]]:
    """Recordings of twenty windows of a shape."""

    def make(*shape: int, recordings: int = 4) -> list[Batch]:
        random = np.random.default_rng(5)
        each = [random.normal(size=(20, *shape)).astype(np.float32) for _ in range(recordings)]
        return [Batch(f"recording_{place}", values) for place, values in enumerate(each)]

    return make
