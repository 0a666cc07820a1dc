"""Gaps, and signals at their sensor's limit."""

from __future__ import annotations

import numpy as np
import pytest

from edgebind.signals import NANOSECONDS
from tests.recordings import spec, stamps, still, windows
from tests.window.signals import MS, on_grid, sines


def test_a_gap_shows_in_the_coverage() -> None:
    # samples  ||||||||||||            |||||||||||||||||||||     0.6 s lost
    # 0        [--------------------------)                      covered 80 %
    times = stamps(700)
    keep = np.ones(700, bool)
    keep[200:260] = False
    found, _ = windows(spec(), times[keep], sines(times / NANOSECONDS)[keep])
    assert found[0].quality.coverage == pytest.approx(0.8, abs=0.005)
    assert found[0].quality.gap_ms == pytest.approx(600, abs=15)
    after = [w for w in found if w.start_ns >= 2600 * MS]
    assert after and all(w.quality.coverage == 1.0 for w in after)
    np.testing.assert_allclose(found[0].samples[:, :195], on_grid(0)[:, :195], atol=0.01)
    np.testing.assert_allclose(found[0].samples[:, 265:], on_grid(0)[:, 265:], atol=0.01)


def test_values_run_straight_across_a_gap() -> None:
    samples = np.zeros((400, 6), np.float32)
    samples[150:] = 10
    keep = np.r_[0:101, 201:400]
    found, _ = windows(spec(), stamps(400)[keep], samples[keep])
    np.testing.assert_allclose(found[0].samples[0, 100:202], np.linspace(0, 10, 102), atol=0.3)


def test_single_lost_samples_do_not_shift_the_rest() -> None:
    true = stamps(900)
    keep = np.random.default_rng(3).random(900) > 0.03
    found, _ = windows(spec(), true[keep], sines(true / NANOSECONDS)[keep])
    assert max(np.abs(w.samples - on_grid(w.start_ns)).max() for w in found) < 0.03
    assert min(w.quality.coverage for w in found) > 0.9


def test_windows_with_too_little_in_them_are_dropped_and_counted() -> None:
    # samples  ||||||||||                         |||||||||||||||   2.5 s lost
    # 0        [-------------------------)                          covered 1 of 3 s: dropped
    keep = np.r_[0:100, 350:800]
    found, windower = windows(spec(), stamps(800)[keep], sines(stamps(800) / NANOSECONDS)[keep])
    assert all(w.quality.coverage >= 0.5 for w in found)
    assert windower.counters.dropped > 0
    assert windower.counters.windows == len(found)
    assert len(found) + windower.counters.dropped == 11


def test_after_a_long_gap_the_grid_begins_anew() -> None:
    # samples  ||||||||||||||||||||||||||||                               ||||||||||||||||||||||||
    # windows  [--------------)                                           [--------------)
    first, second = stamps(350), stamps(350, start_ns=20 * NANOSECONDS + 3 * MS)
    times = np.concatenate([first, second])
    found, windower = windows(spec(), times, still(700).astype(np.float32))
    assert [w.start_ns for w in found] == [0, 500 * MS, int(second[0]), int(second[0]) + 500 * MS]
    assert windower.counters.restarts == 1
    assert all(w.quality.coverage == 1.0 for w in found)


# --- saturation -------------------------------------------------------------------------------------------------------


def test_flat_tops_at_a_sensors_limit_are_counted() -> None:
    seconds = stamps(300) / NANOSECONDS
    samples = still(300).astype(np.float32)
    samples[:, 0] = np.clip(60 * np.sin(2 * np.pi * seconds), -39.2266, 39.2266)  # ±4 g
    cut_off = float(np.mean(np.abs(samples[:, 0]) >= 39.2)) / 6
    found, _ = windows(spec(), stamps(300), samples)
    assert found[0].quality.saturated == pytest.approx(cut_off, abs=0.002)


def test_a_sensor_at_rest_with_coarse_steps_is_not_saturated() -> None:
    samples = np.round(still(300) / 0.02).astype(np.float32) * np.float32(0.02)
    found, _ = windows(spec(), stamps(300), samples)
    assert found[0].quality.saturated == 0.0
