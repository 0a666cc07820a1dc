"""Clocks that are not even, and sources of other rates."""

from __future__ import annotations

import numpy as np
import pytest

from edgebind.signals import NANOSECONDS
from tests.recordings import spec, stamps, windows
from tests.window.signals import MS, batched, on_grid, sines


@pytest.mark.parametrize("size", [3, 5, 20])
def test_batches_are_spread_out_again(size: int) -> None:
    # taken    |  |  |  |  |  |  |  |  |  |
    # stamped              |||||          |||||     one stamp for all of a batch
    times = batched(900, size)
    found, _ = windows(spec(), times, sines(stamps(900) / NANOSECONDS))
    assert len(found) >= 11
    for window in found[1:-1]:
        # A constant delay cannot be seen in the stamps; what is left over must be a shift, and no distortion.
        shifts = np.arange(-size * 10 - 20, 20) * MS
        best = min(np.abs(window.samples - on_grid(window.start_ns + int(shift))).max() for shift in shifts)
        assert best < 0.02 + 0.0025 * size
        assert window.quality.coverage == 1.0


def test_jitter_is_taken_out() -> None:
    rng = np.random.default_rng(1)
    true = stamps(900)
    times = np.maximum.accumulate(true + np.round(rng.normal(0, 3 * MS, 900)).astype(np.int64))
    found, _ = windows(spec(), times, sines(true / NANOSECONDS))
    errors = [np.abs(w.samples - on_grid(w.start_ns)).max() for w in found]
    assert max(errors) < 0.02  # the stamps as they stand would give 0.1


def test_a_delayed_burst_is_no_gap() -> None:
    # stamped  |  |  |                   |||||||||  |  |  |       80 ms late, and then all at once
    true = stamps(900)
    times = true.copy()
    times[500:509] = times[508] + np.arange(9) * 200_000
    found, _ = windows(spec(), times, sines(true / NANOSECONDS))
    assert all(w.quality.coverage == 1.0 and w.quality.gap_ms == 0.0 for w in found)
    assert max(np.abs(w.samples - on_grid(w.start_ns)).max() for w in found) < 0.02


def test_a_burst_at_the_end_of_a_window_is_waited_for() -> None:
    # window 0       [--------------------------)
    # stamped        | | | | | | | | |           |||||  |  |     the last samples of the window come after its end
    true = stamps(400)
    times = true.copy()
    times[292:301] = times[301] - 1 - np.arange(9)[::-1] * 1000
    found, _ = windows(spec(), times, sines(true / NANOSECONDS))
    assert found[0].quality.coverage == 1.0
    assert np.abs(found[0].samples - on_grid(0)).max() < 0.05


def test_a_clock_that_runs_fast_is_followed() -> None:
    seconds = np.arange(3000) / 101.3
    found, _ = windows(spec(), np.round(seconds * 1e9).astype(np.int64), sines(seconds))
    assert max(np.abs(w.samples - on_grid(w.start_ns)).max() for w in found) < 0.01


def test_a_change_of_rate_is_followed() -> None:
    seconds = np.concatenate([np.arange(450) / 100, 4.5 + np.arange(300) / 50])
    found, _ = windows(spec(), np.round(seconds * 1e9).astype(np.int64), sines(seconds))
    # The last window ends half a grid step after the last sample, whose value is held.
    assert max(np.abs(w.samples - on_grid(w.start_ns)).max() for w in found[:-1]) < 0.02
    assert min(w.quality.coverage for w in found) > 0.97


def test_repeated_samples_are_left_out() -> None:
    times, samples = stamps(400), sines(stamps(400) / NANOSECONDS)
    twice = np.sort(np.concatenate([np.arange(400), np.arange(50, 350, 7)]))
    expected, _ = windows(spec(), times, samples)
    found, windower = windows(spec(), times[twice], samples[twice])
    assert windower.counters.duplicates == len(twice) - 400
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got.samples, wanted.samples)


# --- other rates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [198.0, 250.0, 400.0, 1000.0])
def test_a_faster_source_is_filtered_before_it_is_thinned_out(rate: float) -> None:
    count = int(5 * rate)
    times = stamps(count, rate)
    slow, fast = sines(times / NANOSECONDS, 10.0), sines(times / NANOSECONDS, 70.0)  # 70 Hz would fold to 30 Hz
    found, _ = windows(spec(), times, slow + fast)
    assert len(found) == 5
    for window in found:
        error = np.abs(window.samples - on_grid(window.start_ns, hz=10.0))
        # Before the first sample and after the last there is nothing to filter with but their own values.
        assert error[:, 6 * (window is found[0]) : 300 - 6 * (window is found[-1])].max() < 0.02


def test_a_slower_source_is_joined_by_straight_lines() -> None:
    times = stamps(250, 50.0)
    found, _ = windows(spec(), times, sines(times / NANOSECONDS, 1.0))
    assert len(found) == 5
    # The last window ends half a grid step after the last sample, whose value is held.
    assert max(np.abs(w.samples - on_grid(w.start_ns, hz=1.0)).max() for w in found[:-1]) < 0.01
    assert all(w.quality.coverage == 1.0 for w in found)
