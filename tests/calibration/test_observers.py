from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from edgebind.calibration.observers import (
    BINS,
    METHODS,
    Entropy,
    Histogram,
    MinMax,
    Percentile,
    best_clip,
    symmetric_weight_scales,
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


def test_weight_scales_are_one_a_channel() -> None:
    weight = np.zeros((3, 2, 5), np.float32)
    weight[0, 1, 2], weight[2, 0, 0] = -12.7, 254
    assert symmetric_weight_scales(weight, 0).tolist() == pytest.approx([0.1, 1, 2])
    assert symmetric_weight_scales(weight, 1).tolist() == pytest.approx([2, 0.1])
