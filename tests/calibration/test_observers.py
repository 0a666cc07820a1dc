from __future__ import annotations

import contextlib
import io
import itertools

import numpy as np
import pytest
import scipy.stats
from onnxruntime.quantization.calibrate import HistogramCollector

from edgebind.calibration.histogram import BINS, Histogram
from edgebind.calibration.observers import (
    METHODS,
    Entropy,
    MinMax,
    MovingAverage,
    Percentile,
    SquaredError,
    best_clip,
    least_error_clip,
    squared_errors,
)
from edgebind.errors import CalibrationError, OptionError

RANDOM = np.random.default_rng(0)
SAMPLES = {
    "normal": RANDOM.normal(size=100_000),
    "relu": np.maximum(RANDOM.normal(size=100_000), 0),
    "heavy": RANDOM.standard_t(3, size=100_000),
    "uniform": RANDOM.uniform(-1, 1, size=100_000),
    "skewed": RANDOM.gamma(2, size=100_000) - 0.2,
}


def observe(values: np.ndarray, parts: int = 7) -> Histogram:
    histogram = Histogram()
    for part in np.array_split(values.astype(np.float32), parts):
        histogram.update(part)
    return histogram


@pytest.mark.parametrize("name", SAMPLES)
def test_min_and_max_are_exact(name: str) -> None:
    values = SAMPLES[name].astype(np.float32)
    assert MinMax(observe(values)).range() == (float(values.min()), float(values.max()))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentiles_are_numpys_within_a_bin(name: str, percentile: float) -> None:
    histogram = observe(SAMPLES[name])
    tail = (100 - percentile) / 2
    expected = np.percentile(SAMPLES[name], [tail, 100 - tail])
    assert Percentile(percentile, histogram).range() == pytest.approx(expected, abs=1.5 * histogram.limit / BINS)


@pytest.mark.parametrize("name", SAMPLES)
def test_percentiles_are_onnxruntimes_within_a_few_of_its_bins(name: str) -> None:
    values = SAMPLES[name].astype(np.float32)
    low, high = _onnxruntime("percentile", values)
    coarse = float(2 * np.abs(values).max() / 2048)
    assert Percentile(99.9, observe(values)).range() == pytest.approx((low, high), abs=4 * coarse)


@pytest.mark.parametrize("name", ["normal", "heavy", "uniform"])
def test_entropy_clips_about_where_onnxruntime_does(name: str) -> None:
    """Theirs bins both signs together and merges bins differently, so they agree in kind and not to the digit."""
    values = SAMPLES[name].astype(np.float32)
    _, theirs = _onnxruntime("entropy", values)
    _, ours = Entropy(observe(values)).range()
    assert ours == pytest.approx(theirs, rel=0.35)


def _onnxruntime(method: str, values: np.ndarray) -> tuple[float, float]:
    collector = HistogramCollector(method, False, 2048, 128, 99.9, "same")
    with contextlib.redirect_stdout(io.StringIO()):
        collector.collect({"x": [values]})
        low, high = collector.compute_collection_result()["x"][:2]
    return float(low), float(high)


def test_entropy_of_a_hand_worked_case() -> None:
    """Eight bins, four levels: an even body of 4 bins is held exactly, so a far outlier is not worth any level."""
    body = np.array([8, 8, 8, 8, 0, 0, 0, 0])
    assert best_clip(body, levels=4) == 4
    steep = np.array([8, 4, 8, 4, 8, 4, 8, 4])  # merging 8 with 4 loses something; clipping half of it loses more
    assert best_clip(steep, levels=4) == 8


@pytest.mark.parametrize("name", ["normal", "relu", "heavy", "uniform"])
def test_entropy_is_what_the_published_procedure_finds(name: str) -> None:
    """The procedure of the GTC slides, step by step, with SciPy's divergence; every clip of a small histogram."""
    counts = np.histogram(np.abs(SAMPLES[name]), bins=256)[0]
    divergences = {size: _published(counts, size, levels=16) for size in range(16, 257)}
    ours = best_clip(counts, levels=16)
    assert divergences[ours] == pytest.approx(min(divergences.values()), rel=1e-9)


def _published(counts: np.ndarray, size: int, levels: int) -> float:
    reference = counts[:size].astype(float)
    reference[-1] += counts[size:].sum()
    candidate = np.zeros(size)
    edges = [level * size // levels for level in range(levels)] + [size]
    for begin, end in itertools.pairwise(edges):
        held = [i for i in range(begin, end) if reference[i] > 0]
        for i in held:
            candidate[i] = counts[begin:end].sum() / len(held)
    return float(scipy.stats.entropy(reference, np.maximum(candidate / candidate.sum(), 1e-12)))


def test_entropy_cuts_a_long_thin_tail() -> None:
    values = np.concatenate([SAMPLES["normal"], [80.0]])
    low, high = Entropy(observe(values)).range()
    assert -6 < low < -3
    assert 3 < high < 40


def test_counts_do_not_depend_on_how_the_stream_was_cut() -> None:
    values = SAMPLES["heavy"].astype(np.float32)
    small_first = np.sort(np.abs(values))
    one, many = observe(small_first, 1), observe(small_first, 50)
    assert one.total == many.total == len(values)
    assert np.percentile(small_first, 99) == pytest.approx(many.quantile(0.99), abs=2 * many.limit / BINS)
    assert one.counts.nbytes == many.counts.nbytes


def test_zeros_before_and_after_anything_else_are_counted() -> None:
    histogram = Histogram()
    for values in (np.zeros(10), np.array([-2.0, 2.0]), np.zeros(5)):
        histogram.update(values)
    assert histogram.total == 17
    assert MinMax(histogram).range() == (-2, 2)
    assert histogram.quantile(0.5) == pytest.approx(0, abs=histogram.limit / BINS)


def test_a_tensor_of_zeros_has_a_range() -> None:
    for method in METHODS.values():
        assert method(observe(np.zeros(100))).range() == pytest.approx((0, 0), abs=1e-30)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_stops_the_observer(bad: float) -> None:
    with pytest.raises(CalibrationError, match="no numbers"):
        MinMax().update(np.array([1.0, bad]))


def test_an_observer_that_saw_nothing_says_so() -> None:
    with pytest.raises(CalibrationError, match="nothing was observed"):
        Entropy().range()


def test_a_percentile_must_be_one() -> None:
    with pytest.raises(OptionError, match="percentile out of range"):
        Percentile(12)


@pytest.mark.parametrize(("distribution", "clip"), [("normal", 3.92), ("laplace", 9.89)])
def test_the_least_squared_error_is_where_the_literature_has_it(distribution: str, clip: float) -> None:
    """Banner et al. 2019: 8 bits clip a Gaussian at 3.92 standard deviations, a Laplacian at 9.89 times its scale."""
    values = getattr(np.random.default_rng(3), distribution)(size=4_000_000).astype(np.float32)
    _, high = SquaredError(observe(values)).range()
    assert high == pytest.approx(clip, rel=0.04)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_other_clip_of_the_values_themselves_costs_less(name: str) -> None:
    values = SAMPLES[name]
    low, high = SquaredError(observe(values)).range()
    clips = np.abs(values).max() * np.geomspace(1, 0.02, 80)
    assert _cost(values, max(-low, high)) <= 1.01 * min(_cost(values, clip) for clip in clips)


def _cost(values: np.ndarray, clip: float) -> float:
    step = clip / 127
    return float(np.square(values - np.clip(np.rint(values / step), -127, 127) * step).mean())


def test_squared_errors_of_a_hand_worked_case() -> None:
    """One value spread over [0, 1), levels 0, 1/2 and 1: each quarter rounds by at most 1/4, 4 x (1/4)^3 / 3 = 1/48.

    With levels 0, 1/4 and 1/2 the lower half costs (1/4)^2 / 12 x 1/2, and the upper one is cut: (1/2)^3 / 3; but what
    lies within half a step of the last level was in the lower sum already, as rounding.
    """
    one = np.array([1])
    assert squared_errors(one, np.array([1.0]), levels=3)[0] == pytest.approx(1 / 48)
    assert squared_errors(one, np.array([0.5]), levels=3)[0] == pytest.approx(1 / 384 + 1 / 24)
    assert squared_errors(np.array([0, 0, 4]), np.array([1.0]), levels=3)[0] == pytest.approx(4 * (2**3 - 1) / 3)


def test_a_far_outlier_is_cut_where_it_costs_less_than_the_coarse_grid() -> None:
    counts = np.zeros(2048, np.int64)
    counts[:100] = 10_000
    counts[-1] = 1
    assert least_error_clip(counts) < 2048
    counts[-1] = 10_000
    assert least_error_clip(counts) == pytest.approx(2048, rel=0.01)


def test_the_moving_average_of_a_hand_worked_case() -> None:
    """Batches [-1, 1], [0, 3], [-2, 0] at a half: low -1, -0.5, -1.25; high 1, 2, 1."""
    observer = MovingAverage(Histogram(smoothing=0.5))
    for batch in ([-1.0, 1.0], [0.0, 3.0], [-2.0, 0.0]):
        observer.update(np.array(batch))
    assert observer.range() == (-1.25, 1.0)


def test_one_wild_batch_moves_the_average_by_its_share() -> None:
    histogram = Histogram()
    for scale in (1, 1, 1, 100):
        histogram.update(scale * np.array([-1.0, 1.0]))
    assert MovingAverage(histogram).range() == pytest.approx((-1.99, 1.99))
    assert MinMax(histogram).range() == (-100, 100)


@pytest.mark.parametrize("smoothing", [0.0, 1.5, float("nan")])
def test_smoothing_must_be_a_share(smoothing: float) -> None:
    with pytest.raises(OptionError, match="smoothing out of range"):
        Histogram(smoothing)
