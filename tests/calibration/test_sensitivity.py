from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration import cost, engine, gate, qdq, ranges, sensitivity, switches
from edgebind.calibration.batches import Batch
from edgebind.calibration.gate import Bars
from edgebind.calibration.journal import Journal
from edgebind.calibration.search import Search
from edgebind.calibration.sensitivity import Probe
from edgebind.calibration.subject import Subject
from edgebind.calibration.switches import Switchboard
from edgebind.labels import LabelBank
from tests.calibration.conftest import make_encoder

LAYERS = ("c1", "c2", "m", "g")


def probe_of(graph: Path, walks: list[Batch], bank: LabelBank, scratch: Path) -> Probe:
    subject = Subject.of(graph, walks[0], bank, scratch, lambda _: None)
    spans = ranges.collect(graph, walks[:4])["minmax"]
    return Probe(subject, spans, walks[:2], Journal(None, "", LAYERS))


@pytest.mark.parametrize("scheme", qdq.SCHEMES, ids=lambda scheme: scheme.file)
def test_a_switchboard_computes_what_the_written_graph_does(
    encoder: Path, walks: list[Batch], tmp_path: Path, scheme: qdq.Scheme
) -> None:
    spans = ranges.collect(encoder, walks[:4])["minmax"]
    with Switchboard(encoder, spans, scheme, tmp_path) as board:
        for size in range(len(LAYERS) + 1):
            for quantised in itertools.combinations(LAYERS, size):
                keep = set(LAYERS) - set(quantised)
                qdq.write(encoder, spans, scheme, tmp_path / "written.onnx", keep)
                expected = engine.embed(tmp_path / "written.onnx", walks[:1], optimise=False)
                np.testing.assert_allclose(board.embed(walks[:1], quantised), expected, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.fp32.onnx", "written.onnx"]


def test_a_switchboard_too_large_for_one_file_keeps_its_weights_beside_it(
    encoder: Path, walks: list[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = ranges.collect(encoder, walks[:4])["minmax"]
    with Switchboard(encoder, spans, qdq.TENSORRT, tmp_path) as board:
        expected = board.embed(walks[:1], LAYERS[:2])
    monkeypatch.setattr(switches, "LARGE", 0)
    with Switchboard(encoder, spans, qdq.TENSORRT, tmp_path) as board:
        np.testing.assert_array_equal(board.embed(walks[:1], LAYERS[:2]), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.fp32.onnx"]


def test_a_layers_damage_is_that_of_the_worst_graph(walks: list[Batch], bank: LabelBank, tmp_path: Path) -> None:
    graph = make_encoder(tmp_path / "encoder.fp32.onnx", peak=3000.0)
    with probe_of(graph, walks, bank, tmp_path) as probe:
        found = {item.layer: item for item in sensitivity.measure(probe, gate.INT8)}
    spans = ranges.collect(graph, walks[:4])["minmax"]
    expected = engine.embed(graph, walks[:2], optimise=True)
    damage = {}
    for scheme in qdq.SCHEMES:
        qdq.write(graph, spans, scheme, tmp_path / "alone.onnx", keep=set(found) - {"c2"})
        vectors = engine.embed(tmp_path / "alone.onnx", walks[:2], optimise=False)
        damage[scheme.file] = gate.compare(expected, vectors, bank)
    assert 1 - damage["encoder.onnx"].cosine_mean < 1e-3
    worst = damage["encoder.u8u8.onnx"]
    assert max(found, key=lambda name: found[name].damage) == "c2"
    assert found["c2"].damage == pytest.approx(1 - worst.cosine_mean, rel=1e-3)
    assert worst.agreement is not None
    assert found["c2"].disagreement == pytest.approx(1 - worst.agreement)


def test_gain_worked_by_hand() -> None:
    bars = Bars(0.99, 0.97, 0.98)
    item = sensitivity.Sensitivity("m", damage=0.02, disagreement=0.01, saved_us=5.0, basis="measured")
    assert item.gain(bars) == pytest.approx((2 + 0.5) / 5)
    assert sensitivity.Sensitivity("m", 0.02, None, 5.0, "measured").gain(bars) == pytest.approx(2 / 5)


def test_what_a_device_saves_worked_by_hand() -> None:
    # computing: 20 MMAC take 4 us in FP16 and 2 us in INT8, longer than fetching 68 000 values
    assert cost.estimate(20_000_000, 68_000) == pytest.approx(4 - 2)
    # fetching: 680 000 values take 20 us at two bytes each and 10 us at one
    assert cost.estimate(1000, 680_000) == pytest.approx(20 - 10)


def test_a_layer_that_this_cpu_does_not_speed_up_counts_as_on_a_device(
    encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path
) -> None:
    subject = Subject.of(encoder, walks[0], bank, tmp_path, lambda _: None)
    found = cost.savings(subject, {"c1": [2.0, 1.5], "m": [1.0, 3.0]}, cost.shapes(subject, walks[0]))
    assert found["c1"].basis == "measured"
    assert found["c1"].microseconds == pytest.approx(500)
    assert found["m"].basis == found["g"].basis == "estimated"
    assert found["m"].microseconds > 0


def test_estimates_add_up_to_what_is_saved_here(
    encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path
) -> None:
    subject = Subject.of(encoder, walks[0], bank, tmp_path, lambda _: None)
    found = cost.savings(subject, {cost.WHOLE: [5.0, 3.0]}, cost.shapes(subject, walks[0]))
    assert sum(item.microseconds for item in found.values()) == pytest.approx(2000)


@pytest.mark.parametrize("small", [0, cost.SMALL], ids=["layers alone", "whole encoders"])
def test_every_layer_is_raced(
    encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.01)
    monkeypatch.setattr(cost, "SMALL", small)
    subject = Subject.of(encoder, walks[0], bank, tmp_path, lambda _: None)
    times = cost.race(subject, ranges.collect(encoder, walks[:1])["minmax"], walks[0])
    assert set(times) == {*LAYERS, cost.WHOLE}
    assert all(slow > 0 and fast > 0 for slow, fast in times.values())


class _Table(Probe):
    """A probe whose measurements are a formula: no graph, no windows."""

    def __init__(self, subject: Subject, hurt: dict[frozenset[str], float]) -> None:
        self.subject = subject
        self.hurt = hurt
        self.asked: list[frozenset[str]] = []
        self.journal = Journal(None, "", LAYERS)
        self.journal.times = {name: [1.0, 0.0] for name in LAYERS}  # a millisecond each

    def measure(self, quantised: object) -> gate.Comparison:
        chosen = frozenset(quantised)  # type: ignore[call-overload]
        self.asked.append(chosen)
        lost = sum(hurt for layers, hurt in self.hurt.items() if layers <= chosen)
        return gate.Comparison(8, 1 - lost, 1 - lost, 1 - lost, None)

    def savings(self) -> dict[str, cost.Saving]:
        return {name: cost.Saving(1000.0, "measured") for name in LAYERS}


def search_of(encoder: Path, walks: list[Batch], tmp_path: Path, hurt: dict[str, float], bars: Bars) -> Search:
    subject = Subject.of(encoder, walks[0], LabelBank.empty(16), tmp_path, lambda _: None)
    return Search(_Table(subject, {frozenset(name.split("+")): lost for name, lost in hurt.items()}), bars, bars)


def test_the_least_layers_that_pass_the_bar_are_returned(encoder: Path, walks: list[Batch], tmp_path: Path) -> None:
    search = search_of(encoder, walks, tmp_path, {"c1": 0.01, "c2": 0.002, "m": 0.03, "g": 0.001}, Bars(0.99, 0.99))
    assert search.reach() == ["m", "c1"]


def test_layers_that_hurt_only_together_are_found(encoder: Path, walks: list[Batch], tmp_path: Path) -> None:
    # Alone, c2 does most harm, and m and g none; but the pair is what misses the bar, and c2 can then be put back.
    search = search_of(encoder, walks, tmp_path, {"c2": 0.006, "m+g": 0.02, "c1": 0.001}, Bars(0.99, 0.99))
    kept = search.reach()
    assert len(kept) == 1
    assert kept[0] in ("m", "g")


def test_a_layer_that_must_wait_for_another_is_still_returned(
    encoder: Path, walks: list[Batch], tmp_path: Path
) -> None:
    # Either of two layers spoils everything: returning one alone helps nothing.
    class Either(_Table):
        def measure(self, quantised: object) -> gate.Comparison:
            chosen = set(quantised)  # type: ignore[call-overload]
            lost = 0.1 if chosen & {"m", "g"} else 0.0
            return gate.Comparison(8, 1 - lost, 1 - lost, 1 - lost, None)

    subject = Subject.of(encoder, walks[0], LabelBank.empty(16), tmp_path, lambda _: None)
    bars = Bars(0.99, 0.99)
    assert set(Search(Either(subject, {}), bars, bars).reach()) == {"m", "g"}


def test_harmless_blocks_are_not_looked_into(
    encoder: Path, walks: list[Batch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "FEW", 0)
    monkeypatch.setattr(sensitivity, "_blocks", lambda layers: [list(layers[:2]), list(layers[2:])])
    subject = Subject.of(encoder, walks[0], LabelBank.empty(16), tmp_path, lambda _: None)
    table = _Table(subject, {frozenset({"m"}): 0.01, frozenset({"c1"}): 1e-5})
    found = {item.layer: item for item in sensitivity.measure(table, Bars(0.99, 0.99))}
    assert table.asked == [{"c1", "c2"}, {"m", "g"}, {"m"}, {"g"}]
    assert found["c1"].damage + found["c2"].damage == pytest.approx(1e-5)
    assert found["m"].damage == pytest.approx(0.01)
    assert found["c1"].within != ""
    assert found["m"].within == ""


def test_blocks_are_read_off_the_names() -> None:
    from edgebind.calibration.graph import Layer

    layer = Layer("_v_9", "Gemm", "x", "val_3", 1, "trunk.blocks.3.attn.in_proj_bias")
    assert layer.title == "trunk.blocks.3.attn.in_proj"
    assert layer.block == "trunk.blocks.3"
    assert Layer("linear", "MatMul", "x", "val_3", 1).block == "linear"


def test_a_search_reaches_what_the_gate_then_confirms(
    spoilt_encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path
) -> None:
    with probe_of(spoilt_encoder, walks, bank, tmp_path) as probe:
        bars = Bars(0.99, 0.97, 0.9)
        search = Search(probe, bars, bars)
        assert search.ranking[0].layer == "m"  # the one that reads the outlier
        assert search.reach() == ["m"]
        assert probe.keeping(["m"]).meets(bars)
