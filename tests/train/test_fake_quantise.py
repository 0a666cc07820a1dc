"""Learning to bear 8 bits: what is trained through is what the exported INT8 graph computes, and the weights stay the student's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgebind.calibration import engine, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.errors import CalibrationError
from edgebind.export.simplify import simplify
from edgebind.export.torch_onnx import to_onnx
from edgebind.models import students
from edgebind.train.fake_quantise import FakeQuantised, find_places, folded


def _student(name: str, shape: tuple[int, ...]) -> nn.Module:
    """A student whose BatchNorms have seen something."""
    torch.manual_seed(0)
    student = students.build(name, dim=16)
    for _ in range(20):
        student(torch.randn(8, *shape) * 2 + 0.5)
    return student.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), [("thermal-xs", (1, 32, 32)), ("imu-xs", (6, 200))])
def test_it_computes_what_the_exported_int8_graph_computes(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    student = _student(name, shape)
    inputs = np.random.default_rng(0).normal(0.5, 2, (32, *shape)).astype(np.float32)
    to_onnx(student, inputs[:2], tmp_path / "raw.onnx")
    graph = tmp_path / "encoder.onnx"
    simplify(tmp_path / "raw.onnx", graph)
    found = ranges.collect(graph, [Batch("noise", inputs)])["minmax"]
    qdq.write(graph, found, qdq.TENSORRT, tmp_path / "int8.onnx")
    expected = engine.embed(tmp_path / "int8.onnx", [Batch("noise", inputs)], optimise=False)
    places = find_places(student, Graph.read(graph), found)
    assert len(places) == sum(isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear)) for m in student.modules())
    with torch.no_grad():
        ours = FakeQuantised(student, places).eval()(torch.from_numpy(inputs)).numpy()
        exact = student(torch.from_numpy(inputs)).numpy()
    # A value that lies on the edge between two integers may fall to either side; all others are the same.
    assert np.abs(ours - expected).mean() < 0.05 * np.abs(exact - expected).mean()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    to_onnx(_student("thermal-xs", (1, 32, 32)), np.zeros((2, 1, 32, 32), np.float32), folder / "raw.onnx")
    simplify(folder / "raw.onnx", folder / "encoder.onnx")
    return folder / "encoder.onnx"


@pytest.fixture
def fake(graph: Path) -> FakeQuantised:
    student = _student("thermal-xs", (1, 32, 32))
    inputs = np.random.default_rng(0).normal(0.5, 2, (16, 1, 32, 32)).astype(np.float32)
    found = ranges.collect(graph, [Batch("noise", inputs)])["minmax"]
    return FakeQuantised(student, find_places(student, Graph.read(graph), found))


def test_the_weights_are_the_students_under_their_own_names(fake: FakeQuantised) -> None:
    fresh = students.build("thermal-xs", dim=16)
    fresh.load_state_dict(fake.student.state_dict())
    inputs = torch.randn(4, 1, 32, 32)
    torch.testing.assert_close(fresh.eval()(inputs), _student("thermal-xs", (1, 32, 32))(inputs))


def test_training_moves_weights_and_leaves_statistics_alone(fake: FakeQuantised) -> None:
    before = {name: value.clone() for name, value in fake.student.state_dict().items()}
    fake.train()
    optimiser = torch.optim.SGD(fake.parameters(), lr=0.1)
    fake(torch.randn(8, 1, 32, 32)).sum().backward()
    optimiser.step()
    moved = {name for name, value in fake.student.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name, _ in fake.student.named_parameters()}


def test_fine_tuning_wins_back_what_coarse_integers_cost(fake: FakeQuantised) -> None:
    exact = _student("thermal-xs", (1, 32, 32))
    coarse = [replace(place, scale=20 * place.scale) for place in fake._places.values()]
    learner = FakeQuantised(_student("thermal-xs", (1, 32, 32)), coarse)
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-3)
    torch.manual_seed(1)
    inputs = torch.randn(32, 1, 32, 32) * 2 + 0.5
    with torch.no_grad():
        wanted = exact(inputs)
    losses = []
    for _ in range(15):
        loss = (learner(inputs) - wanted).square().sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.01, "integers this coarse must cost something"
    assert losses[-1] < 0.5 * losses[0]


def test_folding_is_what_batchnorm_computes() -> None:
    torch.manual_seed(0)
    layer, norm = nn.Conv1d(3, 5, 3, bias=True), nn.BatchNorm1d(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm(torch.randn(8, 5, 7) * 3 + 1)
    inputs = torch.randn(4, 3, 9)
    weight, bias = folded(layer, norm.eval())
    torch.testing.assert_close(nn.functional.conv1d(inputs, weight, bias), norm(layer(inputs)))


def test_a_graph_of_other_weights_is_one_clear_line(graph: Path) -> None:
    inputs = np.zeros((16, 1, 32, 32), np.float32)
    found = ranges.collect(graph, [Batch("nothing", inputs)])["minmax"]
    with pytest.raises(CalibrationError, match="other weights than the student's"):
        find_places(students.build("thermal-xs", dim=16), Graph.read(graph), found)
    with pytest.raises(CalibrationError, match="none of the student's"):
        find_places(students.build("imu-xs", dim=16), Graph.read(graph), found)
