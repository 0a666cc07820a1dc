"""Transforms switched by what they gain, on the encoders that need them and on those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration import engine, gate, ladder, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.nearness import Nearness
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.subject import Subject
from edgebind.calibration.transforms import trial
from edgebind.calibration.transforms.trial import Trial
from edgebind.labels import LabelBank
from tests.calibration.transforms.conftest import make_reader

Improved = tuple[Ranges, dict[str, Trial]]


def improve(graph: Path, batches: list[Batch], method: str = "minmax") -> Improved:
    subject = Subject.of(graph, batches[0], LabelBank.empty(16), graph.parent, lambda stage: None)
    near = Nearness(subject, subject.affordable(batches, 100, 96))
    found, trials = trial.improve(near, ranges.collect(graph, batches)[method], batches)
    return found, {of.name: of for of in trials}


def cosine(graph: Path, of: Ranges, scheme: qdq.Scheme, batches: list[Batch]) -> float:
    target = graph.with_name(scheme.file)
    qdq.write(graph, of, scheme, target)
    reference = engine.embed(graph, batches, optimise=True)
    found = engine.embed(target, batches, optimise=ladder.runs_here(scheme))
    return gate.compare(reference, found, LabelBank.empty(16)).cosine_mean


def test_smoothing_rescues_a_transformer_with_outlier_channels(
    transformer: Path, outlying: Path, windows: Callable[..., list[Batch]]
) -> None:
    """Judged on recordings of their own: min-max fails with outliers, and smoothed it is as good as without any."""
    batches = windows(12, 32, recordings=6)
    same = engine.embed(outlying, batches, optimise=True)
    np.testing.assert_allclose(same, engine.embed(transformer, batches, optimise=True), atol=1e-4)
    found, trials = improve(outlying, batches[:4])
    assert trials["smoothing"].kept
    assert trials["smoothing"].fp32_difference is not None and trials["smoothing"].fp32_difference <= 1e-5
    naive = ranges.collect(outlying, batches[:4])["minmax"]
    untroubled = ranges.collect(transformer, batches[:4])["minmax"]
    for scheme in qdq.SCHEMES:
        assert cosine(outlying, naive, scheme, batches[4:]) < 0.99
        smoothed = cosine(outlying, found, scheme, batches[4:])
        assert smoothed > 0.999
        assert smoothed > cosine(transformer, untroubled, scheme, batches[4:]) - 2e-4


def test_equalisation_rescues_unequal_channels(convolutions: Path, windows: Callable[..., list[Batch]]) -> None:
    batches = windows(3, 32, recordings=6)
    found, trials = improve(convolutions, batches[:4])
    assert trials["equalisation"].kept
    assert trials["smoothing"].places == 0
    naive = ranges.collect(convolutions, batches[:4])["minmax"]
    for scheme in qdq.SCHEMES:
        before, after = (1 - cosine(convolutions, of, scheme, batches[4:]) for of in (naive, found))
        assert after < before / 3


def test_bias_correction_takes_off_what_rounded_weights_shift(
    transformer: Path, windows: Callable[..., list[Batch]]
) -> None:
    """Channels whose mean is not zero shift every product by their mean times the rounding of their weights."""
    means = np.random.default_rng(3).normal(size=32).astype(np.float32)
    batches = [Batch(of.recording, of.inputs / 2 + means) for of in windows(12, 32, recordings=6)]
    found, trials = improve(transformer, batches[:4])
    assert trials["bias correction"].kept
    assert found.rewrites.corrections
    naive = ranges.collect(transformer, batches[:4])["minmax"]
    for scheme in qdq.SCHEMES:
        before, after = (1 - cosine(transformer, of, scheme, batches[4:]) for of in (naive, found))
        assert after < before / 1.5


def test_token_ids_and_masks_pass_through(tmp_path: Path) -> None:
    """Of a text encoder: an input of whole numbers, a mask of infinities, and whole numbers between the layers."""
    graph = make_reader(tmp_path / "reader.onnx")
    ids = np.random.default_rng(0).integers(0, 50, size=(60, 12))
    batches = [Batch(str(place), ids[place : place + 20]) for place in (0, 20, 40)]
    found, trials = improve(graph, batches)
    assert trials["smoothing"].places == 2
    assert trials["bias correction"].cosine_after is not None
    assert cosine(graph, found, qdq.TENSORRT, batches) > 0.999


@pytest.mark.parametrize("recordings", [1, 2, 3])
def test_no_window_is_judged_by_what_it_taught(recordings: int) -> None:
    batches = [Batch(str(r), np.arange(10 * r, 10 * r + 5 + r, dtype=np.float32)[:, None]) for r in range(recordings)]
    every = np.concatenate([batch.inputs for batch in batches])
    batches = list(trial._parts(batches))
    halves = trial._halves(batches)
    for own, others in halves:
        taught = np.concatenate([batch.inputs for batch in batches[others]])
        assert len(taught) + own.sum() == len(every)
        assert not np.isin(every[own], taught).any()
    assert (halves[0][0] ^ halves[1][0]).all()


def test_what_does_not_help_leaves_no_trace(encoder: Path, walks: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LEAST_GAIN", 1.0)
    plain = ranges.collect(encoder, walks[:4])["minmax"]
    found, trials = improve(encoder, walks[:4])
    assert found == plain
    assert not any(of.kept for of in trials.values())
    assert trials["bias correction"].cosine_after is not None
    assert {path.name for path in encoder.parent.iterdir()} == {encoder.name}


def test_a_scaling_that_changes_fp32_is_refused(
    outlying: Path, windows: Callable[..., list[Batch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "EQUIVALENT", -1.0)
    found, trials = improve(outlying, windows(12, 32))
    assert not trials["smoothing"].kept
    assert not found.rewrites.scalings


def test_ranges_and_the_untouched_graph_give_the_same_bytes(
    outlying: Path, windows: Callable[..., list[Batch]]
) -> None:
    found, _ = improve(outlying, windows(12, 32))
    for scheme in qdq.SCHEMES:
        written = []
        for of in (found, ranges.from_json(found.to_json())):
            qdq.write(outlying, of, scheme, outlying.with_name(scheme.file))
            written.append(outlying.with_name(scheme.file).read_bytes())
        assert written[0] == written[1]


def test_a_gain_stands_in_the_report_on_its_own() -> None:
    """Of two cosines that agree in five digits the difference would be lost in rounding."""
    told = Trial("smoothing", 1, cosine_before=0.99995770, cosine_after=0.99996012).to_dict()
    assert told["gain"] == pytest.approx(2.42e-6)
    assert list(told)[:5] == ["name", "places", "kept", "gain", "standard_error"]
    assert Trial("smoothing", 0).to_dict()["gain"] is None
