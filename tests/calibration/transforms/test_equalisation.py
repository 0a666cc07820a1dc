from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration import engine
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.transforms import equalisation, rewrites, sites
from edgebind.calibration.transforms.rewrites import Rewrites
from tests.calibration.transforms.conftest import Writer


def test_two_layers_worked_by_hand(tmp_path: Path) -> None:
    add = Writer()
    add(
        "Gemm",
        ["input", add.constant("w0", [[8.0, -1], [0.25, -0.5], [0, 0]]), add.constant("b0", [4.0, 1, 1])],
        "g0",
        transB=1,
    )
    add("Relu", ["g0"], "r0")
    add("MatMul", ["r0", add.constant("w1", [[-2, 1], [0.5, 0.1], [3, 3]])], "embedding")
    graph = Graph.read(add.save(tmp_path / "g.onnx", [2], [2]))
    (scaling,) = equalisation.scalings(graph, sites.find(graph))
    assert scaling.factors == (2.0, 1.0, 1.0)  # sqrt(8 / 2), sqrt(0.5 / 0.5), and a dead channel
    rewrites.apply(graph, Rewrites((scaling,)))
    assert graph.value("w0").tolist() == [[4, -0.5], [0.25, -0.5], [0, 0]]
    assert graph.value("b0").tolist() == [2, 1, 1]
    np.testing.assert_allclose(graph.value("w1"), np.array([[-4, 2], [0.5, 0.1], [3, 3]]), rtol=1e-6)


def test_what_weight_decay_has_left_of_a_channel_is_as_dead_as_zero(tmp_path: Path) -> None:
    add = Writer()
    front, bias = add.constant("w0", [[8.0, -1], [1e-20, -1e-21]]), add.constant("b0", [4.0, 0.5])
    add("Gemm", ["input", front, bias], "g0", transB=1)
    add("Relu", ["g0"], "r0")
    add("MatMul", ["r0", add.constant("w1", [[-2.0, 1], [3, 3]])], "embedding")
    graph = Graph.read(add.save(tmp_path / "g.onnx", [2], [2]))
    (scaling,) = equalisation.scalings(graph, sites.find(graph))
    assert scaling.factors == (2.0, 1.0)  # and not 6e-11, which would make 9e9 of the bias of 0.5


def test_a_chain_with_a_depthwise_layer_ends_equal_and_computes_the_same(
    convolutions: Path, windows: Callable[..., list[Batch]], tmp_path: Path
) -> None:
    graph = Graph.read(convolutions)
    scalings = equalisation.scalings(graph, sites.find(graph))
    rewrites.write(convolutions, Rewrites(tuple(scalings)), tmp_path / "equal.onnx")
    equal = Graph.read(tmp_path / "equal.onnx")
    reach = [
        np.abs(equal.value(name)).max(axis=axes) for name, axes in (("w0", (1, 2)), ("w1", (1, 2)), ("w2", (0, 2)))
    ]
    np.testing.assert_allclose(reach[0], reach[1], rtol=0.01)
    np.testing.assert_allclose(reach[1], reach[2], rtol=0.01)
    batches = windows(3, 32)
    found = engine.embed(tmp_path / "equal.onnx", batches, optimise=True)
    np.testing.assert_allclose(found, engine.embed(convolutions, batches, optimise=True), atol=1e-5)


def test_torch_computes_the_same_with_the_scaled_weights(
    convolutions: Path, windows: Callable[..., list[Batch]], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    graph = Graph.read(convolutions)
    scalings = equalisation.scalings(graph, sites.find(graph))
    inputs = torch.from_numpy(windows(3, 32)[0].inputs)
    outputs = []
    for changes in (Rewrites(), Rewrites(tuple(scalings))):
        rewrites.apply(graph, changes)
        w = {name: torch.from_numpy(graph.value(name).copy()) for name in ("w0", "b0", "w1", "b1", "w2")}
        of = torch.nn.functional
        hidden = of.relu(of.conv1d(inputs, w["w0"], w["b0"], padding=1))
        hidden = of.leaky_relu(of.conv1d(hidden, w["w1"], w["b1"], padding=2, groups=16), 0.1)
        outputs.append(of.normalize(of.conv1d(of.max_pool1d(hidden, 2), w["w2"]).mean(dim=2)).numpy())
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-5)
    np.testing.assert_allclose(engine.embed(convolutions, windows(3, 32)[:1], optimise=True), outputs[0], atol=1e-5)
