from __future__ import annotations

import numpy as np
import pytest

from edgebind.benchmarks import observers as benchmark
from edgebind.calibration.observers import METHODS


def test_what_the_benchmark_reports() -> None:
    report = benchmark.measure(windows=3000, road_windows=30)
    assert report["methods"] == list(METHODS)
    part = report["observers"]
    assert (part["windows"], part["values"]) == (3000, 3000 * 6 * benchmark.LONGEST)
    assert part["growth_mb"] < 300
    assert report["road"]["windows"] == 30
    low, high = part["ranges"]["minmax"]
    for clip in part["ranges"].values():
        assert low <= clip[0] < clip[1] <= high


def test_windows_are_drawn_from_the_whole_signal_and_by_the_seed() -> None:
    signal = np.arange(1000, dtype=np.float32)[None]
    drawn = np.concatenate(list(benchmark._resampled([signal], 2500, seed=1)))
    assert drawn.shape == (2500, 1, benchmark.LONGEST)
    np.testing.assert_array_equal(np.diff(drawn, axis=2), 1)
    assert drawn[:, 0, 0].min() < 20
    assert drawn[:, 0, 0].max() > 780
    again = np.concatenate(list(benchmark._resampled([signal], 2500, seed=1)))
    np.testing.assert_array_equal(drawn, again)
    assert benchmark._resampled([signal], 1, seed=2).__next__()[0, 0, 0] != pytest.approx(drawn[0, 0, 0])
