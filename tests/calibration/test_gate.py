from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration import engine, gate, ladder, nearness, qdq, ranges
from edgebind.calibration.batches import Batch, Material
from edgebind.calibration.gate import Bars
from edgebind.calibration.nearness import Nearness
from edgebind.calibration.quantise import Options, quantise
from edgebind.calibration.subject import Subject
from edgebind.errors import CalibrationError, GateError, OptionError
from edgebind.labels import LabelBank


def test_a_comparison_worked_by_hand() -> None:
    reference = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    candidate = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 1]], np.float32)
    bank = LabelBank(("x", "y"), np.eye(2, dtype=np.float32))
    found = gate.compare(reference, candidate, bank)
    assert found.cosine_mean == pytest.approx(0.9)
    assert found.cosine_min == pytest.approx(0.6)
    assert found.agreement == 0.75
    assert found.windows == 4


def test_without_labels_only_cosines_are_judged() -> None:
    same = np.eye(3, dtype=np.float32)
    found = gate.compare(same, same, LabelBank.empty(3))
    assert found.agreement is None
    assert found.meets(Bars(1, 1, 1))


def test_the_worst_of_each_number_counts() -> None:
    first = gate.Comparison(10, 0.99, 0.97, 0.9, 1.0)
    second = gate.Comparison(10, 0.999, 0.9, 0.8, None)
    assert gate.worst({"a": first, "b": second}) == gate.Comparison(10, 0.99, 0.9, 0.8, 1.0)


def test_a_failing_gate_says_by_how_much() -> None:
    with pytest.raises(
        GateError, match=r"wanted cosine mean 0\.99, p1 0\.97, agreement 0\.98, got cosine mean 0\.50000"
    ):
        gate.require(gate.Comparison(9, 0.5, 0.4, 0.3, 0.2), gate.INT8, "INT8")


def test_a_bar_missed_by_little_is_not_shown_as_met() -> None:
    with pytest.raises(GateError, match=r"got cosine mean 0\.999997, p1 0\.99990\)$"):
        gate.require(gate.Comparison(9, 0.9999973, 0.9999, 0.9, None), Bars(cosine_mean=0.999998), "FP16")


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_bars_are_shares(value: float) -> None:
    with pytest.raises(OptionError, match="out of range"):
        Bars(cosine_mean=value)


def test_a_good_encoder_passes_whole(encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path) -> None:
    (tmp_path / "int8").mkdir()
    made = quantise(encoder, Material(walks[:4], walks[4:]), bank=bank, scratch=tmp_path / "int8")
    assert made.kept == ()
    assert made.mac_share == 1
    assert made.least.cosine_mean > 0.998
    assert set(made.files) == {scheme.file for scheme in qdq.SCHEMES}
    assert made.report["recordings"]["gate"] == {"walk_4": 20, "walk_5": 20}
    assert made.report["speed"]["ratio"] == made.speed.ratio > 0


def test_the_layer_that_does_the_damage_returns_to_float(
    spoilt_encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path
) -> None:
    (tmp_path / "int8").mkdir()
    made = quantise(spoilt_encoder, Material(walks[:4], walks[4:]), bank=bank, scratch=tmp_path / "int8")
    assert made.kept[0] == "m"  # the one that reads the outlier
    assert made.least.meets(gate.INT8)
    assert 0 < made.mac_share < 1
    assert made.report["layers"]["float"][0]["damage"] > 0


def test_the_graphs_that_are_kept_are_those_that_were_judged(
    encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path
) -> None:
    (tmp_path / "int8").mkdir()
    # The aim is out of reach, so every layer's damage is measured; each is too costly to return to float.
    made = quantise(
        encoder, Material(walks[:4], walks[4:]), Options(aim=Bars(1, 1, 1)), bank=bank, scratch=tmp_path / "int8"
    )
    assert made.kept == ()
    assert made.report["layers"]["damage"]
    expected = engine.embed(encoder, walks[4:], optimise=True)
    for scheme in qdq.SCHEMES:
        vectors = engine.embed(made.files[scheme.file], walks[4:], optimise=ladder.runs_here(scheme))
        judged = made.report["graphs"][scheme.file]["cosine_mean"]
        assert gate.compare(expected, vectors, bank).cosine_mean == pytest.approx(judged, abs=2e-6)


def test_bars_that_no_int8_can_reach_are_an_error(
    spoilt_encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path
) -> None:
    (tmp_path / "int8").mkdir()
    with pytest.raises(GateError, match="layers in float"):
        quantise(
            spoilt_encoder,
            Material(walks[:4], walks[4:]),
            Options(bars=Bars(1, 1, 1)),
            bank=bank,
            scratch=tmp_path / "int8",
        )


def test_the_observer_is_chosen_on_calibration_windows(
    encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path
) -> None:
    subject = Subject.of(encoder, walks[0], bank, tmp_path, lambda _: None)
    method, scores = nearness.choose(Nearness(subject, walks[:4]), ranges.collect(encoder, walks[:4]))
    assert scores[method] == pytest.approx(max(scores.values()), abs=1e-5)


def test_too_few_windows_are_refused(encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path) -> None:
    short = [Batch("short", walks[0].inputs[:5])]
    with pytest.raises(
        CalibrationError, match=r"short: too few windows to calibrate INT8 on \(wanted at least 16, got 5"
    ):
        quantise(encoder, Material(short, walks), bank=bank, scratch=tmp_path)
    with pytest.raises(CalibrationError, match="too few windows to gate"):
        quantise(encoder, Material(walks, short), bank=bank, scratch=tmp_path)


def test_progress_can_stop_it(encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path) -> None:
    def interrupt(stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantise(encoder, Material(walks[:4], walks[4:]), bank=bank, scratch=tmp_path, progress=interrupt)
