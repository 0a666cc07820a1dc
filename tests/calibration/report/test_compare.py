"""Comparing two encoders: planted faults are pointed at exactly, vectors are NumPy's, mismatches are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgebind import bundle, cli
from edgebind.calibration import qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.report import compare, layers
from edgebind.calibration.report.compare import Options
from edgebind.errors import CalibrationError, EdgebindError, OptionError
from edgebind.export.precision import to_fp16
from tests import bundles as tiny
from tests.calibration.conftest import make_encoder
from tests.recordings import csv


def damaged(graph: Path, target: Path, weight: str, change: float = 3.0) -> Path:
    """The same graph with one value of one weight blown up."""
    model = onnx.load(graph)
    (tensor,) = [t for t in model.graph.initializer if t.name == weight]
    value = numpy_helper.to_array(tensor).copy()
    value.flat[value.size // 2] += np.asarray(change).astype(value.dtype)
    tensor.CopyFrom(numpy_helper.from_array(value, weight))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(("weight", "tensor"), [("w1", "c1"), ("w2", "c2"), ("w3", "m"), ("b4", "g")])
def test_the_damaged_layer_is_the_first_to_depart(
    encoder: Path, walks: Sequence[Batch], tmp_path: Path, weight: str, tensor: str
) -> None:
    found = layers.compare(encoder, damaged(encoder, tmp_path / "b.onnx", weight), [walks[0].part(slice(0, 3))])
    assert found.first is not None
    assert found.first.tensor == tensor
    assert found.first.inherited < 1e-6
    assert found.windows == 3


def test_errors_are_numpys(encoder: Path, walks: Sequence[Batch], tmp_path: Path) -> None:
    other = damaged(encoder, tmp_path / "b.onnx", "w3")
    batch = walks[1].part(slice(0, 4))
    found = {t.tensor: t for t in layers.compare(encoder, other, [batch]).tensors}
    outputs = []
    for graph in (encoder, other):
        model = onnx.load(graph)
        model.graph.output.append(onnx.ValueInfoProto(name="m"))
        evaluator = ReferenceEvaluator(model)
        outputs.append(np.asarray(next(iter(evaluator.run(["m"], {"input": batch.inputs}))), np.float64))
    a, b = outputs
    assert found["m"].error == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a), rel=1e-4)
    assert found["m"].cosine == pytest.approx((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_names_are_kept_through_precisions(
    encoder: Path, walks: Sequence[Batch], tmp_path: Path, precision: str
) -> None:
    other = tmp_path / "b.onnx"
    if precision == "fp16":
        to_fp16(encoder, other)
    else:
        qdq.write(encoder, ranges.collect(encoder, walks)["minmax"], qdq.TENSORRT, other)
    few = [walks[5].part(slice(0, 2))]
    whole = layers.compare(encoder, other, few)
    assert {"c1", "r1", "c2", "n", "m", "g", "embedding"} <= {t.tensor for t in whole.tensors}
    assert whole.threshold == layers.THRESHOLDS[precision]
    assert whole.first is None
    weight = next(t.name for t in onnx.load(other).graph.initializer if t.name.startswith("w3"))
    broken = damaged(other, tmp_path / "c.onnx", weight, 5.0 if precision == "fp16" else 100)
    step = layers.compare(other, broken, few).largest_step
    assert step is not None
    assert step.tensor == "m"


def make_canceller(path: Path, spoilt: float = 1.0) -> Path:
    """near = x W, far = x (W + a little); their difference goes through a square root and is added to x again."""
    random, make = np.random.default_rng(0), onnx.helper.make_node
    weight = random.normal(size=(16, 16))
    weights = {
        "w": weight,
        "v": weight + 1e-5 * random.normal(size=(16, 16)),
        "u": random.normal(size=(16, 8)) * spoilt,
    }
    nodes = [
        make("MatMul", ["input", "w"], ["near"]),
        make("MatMul", ["input", "v"], ["far"]),
        make("Sub", ["near", "far"], ["difference"]),
        make("Abs", ["difference"], ["size"]),
        make("Sqrt", ["size"], ["root"]),
        make("Add", ["near", "difference"], ["sum"]),
        make("MatMul", ["sum", "u"], ["embedding"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "canceller",
        [value("input", 1, ["batch", 16])],
        [value("embedding", 1, ["batch", 8])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_rounding_that_a_difference_leaves_over_is_no_departure(tmp_path: Path) -> None:
    graph = make_canceller(tmp_path / "a.onnx")
    to_fp16(graph, tmp_path / "b.onnx")
    batch = [Batch("x", np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32))]
    found = layers.compare(graph, tmp_path / "b.onnx", batch)
    difference = next(t for t in found.tensors if t.tensor == "difference")
    assert difference.error > found.threshold > difference.own
    assert found.first is None  # nor what is made of it
    assert (
        found.why_none_departs
        == "errors above 0.02 only in differences of near-equal numbers, and what is made of them"
    )
    broken = make_canceller(tmp_path / "c.onnx", spoilt=1.5)
    first = layers.compare(graph, broken, batch).first
    assert first is not None
    assert first.tensor == "embedding"


def test_graphs_with_weights_in_a_file_of_their_own(encoder: Path, walks: Sequence[Batch], tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "encoder.onnx"
    outside.parent.mkdir()
    onnx.save(onnx.load(encoder), outside, save_as_external_data=True, location="encoder.onnx.data", size_threshold=128)
    few = [walks[0].part(slice(0, 2))]
    assert layers.compare(encoder, outside, few).first is None
    broken = damaged(encoder, tmp_path / "b.onnx", "w2")
    first = layers.compare(outside, broken, few).first
    assert first is not None
    assert first.tensor == "c2"


def test_hundreds_of_tensors_are_looked_at_some_at_a_time(
    encoder: Path, walks: Sequence[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [walks[0].part(slice(0, 2))]
    other = damaged(encoder, tmp_path / "b.onnx", "w2")
    at_once = layers.compare(encoder, other, few)
    monkeypatch.setattr(layers, "TOGETHER", 2)
    assert layers.compare(encoder, other, few) == at_once


def test_graphs_without_a_name_in_common_are_refused(encoder: Path, walks: Sequence[Batch], tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny.encoder((3, 32)))
    model = onnx.load(other)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"x_{name}" if name not in ("input", "weights", "axes") else name for name in names]
    model.graph.output[0].name = "x_embedding"
    onnx.save(model, other)
    with pytest.raises(CalibrationError, match="no tensor has the same name"):
        layers.compare(encoder, other, walks[:1])


# --- whole bundles ----------------------------------------------------------------------------------------------------


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    samples = random.normal(size=(400, 6)) + np.array([0, 0, 9.81, 0, 0, 0])
    (tmp_path / "walk.csv").write_text(csv(400, 10.0, samples=samples))
    return tmp_path / "walk.csv"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two bundles that differ in one weight."""
    random = np.random.default_rng(1)
    weights = random.normal(size=(60, tiny.DIM))
    other = weights.copy()
    other[7, 2] += 4
    found = []
    for name, matrix in (("a", weights), ("b", other)):
        folder = tmp_path / name
        tiny.write(folder)
        sources = {n: (folder / n).read_bytes() for n in bundle.verify(folder).files}
        sources["encoder.onnx"] = tiny.encoder((6, 10), weights=matrix)
        bundle.write(folder, replace(tiny.IMU, labels=tiny.BANK.prompts), sources)
        found.append(folder)
    return found[0], found[1]


def test_two_bundles_on_a_recording(pair: tuple[Path, Path], walk: Path) -> None:
    found = compare.compare(*pair, [walk])
    assert found.comparison.windows == len(found.cosines) == 79
    assert found.comparison.cosine_min == pytest.approx(found.cosines.min())
    assert found.worst[0].cosine == pytest.approx(found.cosines.min())
    assert found.worst[0].start_s == pytest.approx(0.5 * int(found.cosines.argmin()))
    assert found.by_recording["walk.csv"][0] == 79
    assert found.depth is not None
    assert found.depth.first is not None
    assert found.depth.first.tensor == "raw"


def test_bare_graphs_need_a_bundle_that_says_what_they_read(pair: tuple[Path, Path], walk: Path) -> None:
    a, b = (folder / "encoder.onnx" for folder in pair)
    with pytest.raises(OptionError, match="nobody knows what two bare graphs read"):
        compare.compare(a, b, [walk])
    found = compare.compare(a, b, [walk], Options(like=pair[0]))
    assert found.comparison.agreement is None
    assert found.depth is not None
    assert compare.compare(pair[0], b, [walk]).comparison.agreement is not None


def test_cosines_are_of_rows_that_a_graph_left_a_little_off_length_1(
    pair: tuple[Path, Path], walk: Path, tmp_path: Path
) -> None:
    model = onnx.load(pair[0] / "encoder.onnx")
    (last,) = [node for node in model.graph.node if "embedding" in node.output]
    last.output[:] = ["unit"]
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.9999, np.float32), "short"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["unit", "short"], ["embedding"]))
    onnx.save(model, tmp_path / "short.onnx")
    found = compare.compare(tmp_path / "short.onnx", tmp_path / "short.onnx", [walk], Options(like=pair[0], deep=False))
    assert found.cosines == pytest.approx(np.ones(79), abs=5e-7)


def test_what_reads_other_windows_is_refused(pair: tuple[Path, Path], walk: Path, tmp_path: Path) -> None:
    window = replace(tiny.IMU.window, seconds=2.0)
    other = tiny.write(tmp_path / "other", replace(tiny.IMU, window=window))
    with pytest.raises(OptionError, match="the two differ in window"):
        compare.compare(pair[0], other, [walk])
    foreign = tiny.write(tmp_path / "foreign", replace(tiny.IMU, space="elsewhere"))
    with pytest.raises(OptionError, match="the two differ in space"):
        compare.compare(pair[0], foreign, [walk])


def test_a_graph_of_another_input_is_refused(pair: tuple[Path, Path], walk: Path, tmp_path: Path) -> None:
    graph = make_encoder(tmp_path / "other.onnx")
    with pytest.raises(EdgebindError, match="wrong shape"):
        compare.compare(pair[0], graph, [walk])


def test_the_command_prints_json_and_draws_a_page(pair: tuple[Path, Path], walk: Path, tmp_path: Path) -> None:
    page = tmp_path / "compared.html"
    arguments = ["compare", *map(str, pair), str(walk), "--json", "--html", str(page)]
    result = CliRunner().invoke(cli.group, arguments)
    assert result.exception is None, result.output
    found = json.loads(result.stdout)
    assert found["format"] == "edgebind-comparison/1"
    assert found["layers"]["first"]["tensor"] == "raw"
    text = page.read_text()
    assert text.count("<svg") == 2 + len(found["worst"])
    assert "http" not in text.replace("http://www.w3.org", "")
    assert len(text) < 1_000_000


def test_the_command_says_where_it_departs(pair: tuple[Path, Path], walk: Path) -> None:
    result = CliRunner().invoke(cli.group, ["compare", *map(str, pair), str(walk)])
    assert result.exception is None, result.output
    assert "departs     first at weights (tensor raw), MatMul" in result.stdout
    same = CliRunner().invoke(cli.group, ["compare", str(pair[0]), str(pair[0]), str(walk), "--no-layers"])
    assert "not compared: not asked for" in same.stdout
