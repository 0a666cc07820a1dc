"""Attention's own two products in INT8: a choice, in the TensorRT graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgebind.benchmarks import quantisers
from edgebind.calibration import engine, gate, qdq, ranges, sensitivity
from edgebind.calibration.batches import Batch, Material
from edgebind.calibration.gate import Bars
from edgebind.calibration.graph import Graph, Product
from edgebind.calibration.journal import Journal
from edgebind.calibration.quantise import Options, quantise
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.search import Search
from edgebind.calibration.sensitivity import Probe
from edgebind.calibration.subject import Subject
from edgebind.calibration.switches import Switchboard
from edgebind.errors import CalibrationError
from edgebind.labels import LabelBank
from tests.calibration.transforms.conftest import make_transformer

PRODUCTS = [f"b{block}.attn.{name}" for block in range(3) for name in ("scores", "mixed")]


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    return make_transformer(tmp_path / "transformer.onnx")


@pytest.fixture
def batches() -> list[Batch]:
    random = np.random.default_rng(5)
    return [Batch(str(place), random.normal(size=(10, 12, 32)).astype(np.float32)) for place in range(4)]


@pytest.fixture
def spans(transformer: Path, batches: list[Batch]) -> Ranges:
    return ranges.collect(transformer, batches[:3], attention=True)["minmax"]


def subject_of(graph: Path, batches: list[Batch]) -> Subject:
    return Subject.of(graph, batches[0], LabelBank.empty(16), graph.parent, lambda stage: None, attention=True)


def test_products_stand_among_the_layers_of_their_block(transformer: Path) -> None:
    graph = Graph.read(transformer)
    names = [one.name for one in graph.quantisable(attention=True)]
    assert [name for name in names if name in PRODUCTS] == PRODUCTS == [product.name for product in graph.products]
    assert names.index("b1.attn.q.product") < names.index("b1.attn.scores") < names.index("b1.attn.o.product")
    assert [product.weighs for product in graph.products] == [False, True] * 3
    assert graph.quantisable() == graph.layers
    assert graph.products[1].title == f"{graph.products[1].block} weights by value"


def test_all_that_a_product_reads_stands_behind_q_and_dq(
    transformer: Path, spans: Ranges, batches: list[Batch]
) -> None:
    """Counted by the benchmark's own function, which looks at the written graph alone; softmax itself stays in float."""
    target = transformer.with_name("int8.onnx")
    qdq.write(transformer, spans, qdq.TENSORRT, target)
    assert quantisers.int8_share(target, batches[0].inputs) == 1.0
    qdq.write(transformer, spans, qdq.TENSORRT, target, keep=PRODUCTS[:1])
    kept = subject_of(transformer, batches).share(PRODUCTS[:1])
    assert quantisers.int8_share(target, batches[0].inputs) == pytest.approx(kept) != 1.0
    model = onnx.load(target)
    read = {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.input[:1]}
    assert {"b0.attn.weights", "b1.attn.turned", "b1.attn.q.out"} <= read
    assert not {"b1.attn.scores", "b1.attn.scaled"} & read


def test_a_product_is_that_of_its_rounded_factors(transformer: Path, spans: Ranges, batches: list[Batch]) -> None:
    """Worked out in NumPy from the tensors that the graph itself rounds."""
    target = transformer.with_name("int8.onnx")
    qdq.write(transformer, spans, qdq.TENSORRT, target)
    with engine.Tap(target, ["b0.attn.weights", "b0.attn.v.out", "b0.attn.mixed"], optimise=False) as tap:
        values = tap.run(batches[0].inputs)
    graph, factors = Graph.read(target), []
    for name in ("b0.attn.weights", "b0.attn.v.out"):
        step = graph.value(f"{name}.scale")
        assert step == pytest.approx(max(map(abs, spans.tensors[name])) / 127, rel=1e-3)  # half holds it
        factors.append(np.clip(np.rint(values[name] / step), -127, 127) * step)
    np.testing.assert_allclose(values["b0.attn.mixed"], factors[0] @ factors[1], atol=1e-5)
    exact = values["b0.attn.weights"] @ values["b0.attn.v.out"]
    assert np.abs(exact - factors[0] @ factors[1]).max() > 1e-3


def test_cpu_graphs_leave_them_in_float(transformer: Path, spans: Ranges, batches: list[Batch]) -> None:
    for scheme in (qdq.U8S8, qdq.U8U8):
        written = []
        for of in (spans, replace(spans, attention=False)):
            qdq.write(transformer, of, scheme, transformer.with_name(scheme.file))
            written.append(transformer.with_name(scheme.file).read_bytes())
        assert written[0] == written[1]


def test_softmax_spans_what_was_seen_and_not_0_to_1(transformer: Path, spans: Ranges, batches: list[Batch]) -> None:
    """A weight is about 1 / keys, which steps of 1 / 127 would round to nothing in a longer sequence."""
    with engine.Tap(transformer, ["b0.attn.weights"]) as tap:
        largest = max(tap.run(batch.inputs)["b0.attn.weights"].max() for batch in batches[:3])
    assert spans.tensors["b0.attn.weights"][1] == pytest.approx(largest)


@pytest.mark.parametrize("keep", [(), ("b0.attn.scores",), ("b2.attn.mixed", "b1.attn.q.product"), tuple(PRODUCTS)])
def test_each_has_a_switch(transformer: Path, spans: Ranges, batches: list[Batch], keep: tuple[str, ...]) -> None:
    target = transformer.with_name("int8.onnx")
    qdq.write(transformer, spans, qdq.TENSORRT, target, keep)
    expected = engine.embed(target, batches[3:], optimise=False)
    rest = [one.name for one in Graph.read(transformer).quantisable(attention=True) if one.name not in keep]
    with Switchboard(transformer, spans, qdq.TENSORRT, transformer.parent) as board:
        np.testing.assert_allclose(board.embed(batches[3:], rest), expected, atol=1e-6)


def test_the_ladder_returns_the_product_that_hurts(transformer: Path, spans: Ranges, batches: list[Batch]) -> None:
    """A range far too wide leaves a product a handful of levels: it is found, and returning it is enough."""
    spoilt = replace(spans, tensors={**spans.tensors, "b1.attn.weights": (0.0, 40.0)})
    subject = subject_of(transformer, batches)
    with Probe(subject, spoilt, batches[3:], Journal(None, "", [one.name for one in subject.layers])) as probe:
        found = sensitivity.measure(probe, gate.INT8_AIM)
        assert max(found, key=lambda item: item.damage).layer == "b1.attn.mixed"
        whole = probe.keeping(["b1.attn.mixed"]).cosine_mean
        bars = Bars((whole + probe.keeping([]).cosine_mean) / 2, 0, 0)
        assert Search(probe, bars, bars).reach() == ["b1.attn.mixed"]


def test_a_whole_calibration_reports_them(transformer: Path, batches: list[Batch], tmp_path: Path) -> None:
    bank, material = LabelBank.empty(16), Material(batches[:3], batches[3:])
    without, within = (
        quantise(transformer, material, Options(attention=attention), bank=bank, scratch=tmp_path)
        for attention in (False, True)
    )
    assert (without.report["attention"], within.report["attention"]) == ("float", "int8")
    assert without.mac_share < within.mac_share == 1.0
    assert within.ranges.attention
    known = ranges.from_json(within.ranges.to_json())
    again = quantise(transformer, material, Options(attention=True, ranges=known), bank=bank, scratch=tmp_path)
    assert again.ranges == within.ranges
    back = quantise(transformer, material, Options(ranges=within.ranges), bank=bank, scratch=tmp_path)
    assert back.mac_share == without.mac_share
    assert not back.ranges.attention
    with pytest.raises(CalibrationError, match="know nothing of attention's products"):
        quantise(transformer, material, Options(attention=True, ranges=without.ranges), bank=bank, scratch=tmp_path)


def test_ranges_of_the_first_days_are_of_layers_alone(spans: Ranges) -> None:
    text = replace(spans, attention=False).to_json()
    assert ranges.from_json(text.replace(' "attention": false,\n', "")).attention is False
    assert ranges.from_json(spans.to_json()) == spans


def test_an_encoder_without_attention_has_no_products(encoder: Path) -> None:
    graph = Graph.read(encoder)
    assert graph.products == ()
    assert not any(isinstance(one, Product) for one in graph.quantisable(attention=True))
