from __future__ import annotations

import numpy as np
import pytest

from edgebind.calibration.windows import strata

RANDOM = np.random.default_rng(0)


def test_places_are_shared_out_evenly_and_what_a_small_one_leaves_goes_to_the_others() -> None:
    assert strata.allot([100, 100, 3], 63) == [30, 30, 3]
    assert strata.allot([5, 1, 5], 7) == [3, 1, 3]
    assert strata.allot([2, 2], 100) == [2, 2]
    assert strata.allot([], 5) == []


def test_a_rare_busy_minute_counts_beside_hours_of_rest() -> None:
    quiet, busy = RANDOM.uniform(0, 0.5, 5000), RANDOM.uniform(8, 10, 100)
    values = np.stack([np.concatenate([quiet, busy]), np.full(5100, 0.2)], axis=1)
    between = strata.edges("imu", values)
    assert between[1] == ()  # all turn alike
    found = strata.place(values, between)
    drawn = strata.draw(found, 160, seed=1)
    assert len(drawn) == 160
    assert (np.diff(drawn) > 0).all()
    assert (drawn >= 5000).sum() == 80
    assert strata.title("imu", int(found[-1]), between) == "busy"


def test_the_same_seed_draws_the_same_windows_and_another_others() -> None:
    found = RANDOM.integers(0, 6, 3000)
    first = strata.draw(found, 100, seed=7)
    assert first.tolist() == strata.draw(found, 100, seed=7).tolist()
    assert first.tolist() != strata.draw(found, 100, seed=8).tolist()
    assert np.bincount(found[first], minlength=6).tolist() == pytest.approx([100 / 6] * 6, abs=1)


def test_the_same_set_draws_the_same_windows_with_any_numpy() -> None:
    """NumPy does not promise its generator's numbers from version to version; a set's digest would no longer mean its windows."""
    assert strata.draw(np.arange(60) % 3, 6, seed=5).tolist() == [7, 14, 36, 46, 47, 48]


def test_edges_are_equal_steps_between_percentiles() -> None:
    """0 to 100 in steps of 1: from 1 to 99, a third of 98 apart; half of it for two parts."""
    values = np.stack([np.arange(101.0), np.arange(101.0)], axis=1)
    (thirds, halves) = strata.edges("thermal", values)
    assert thirds == pytest.approx((33.667, 66.333), abs=1e-3)
    assert halves == (50,)
    assert strata.count((thirds, halves)) == 6
    assert strata.title("thermal", 5, (thirds, halves)) == "hot, varied"
    assert strata.title("thermal", 0, (thirds, halves)) == "cold, flat"


def test_what_an_imu_window_is_like() -> None:
    """A swing of 2 m/s² on one axis has the root mean square 2 / sqrt(2); 3 and 4 rad/s about two axes make 5."""
    phase = np.linspace(0, 40 * np.pi, 4000, endpoint=False)
    window = np.zeros((6, 4000), np.float32)
    window[2], window[0], window[3], window[4] = 9.81, 2 * np.sin(phase), 3, 4
    shaking, rotation = (aspect.of(window) for aspect in strata.ASPECTS["imu"])
    assert shaking == pytest.approx(np.sqrt(2), rel=1e-4)
    assert rotation == pytest.approx(5)


def test_what_other_windows_are_like() -> None:
    depth = np.array([[0, 0, 2.0], [np.nan, 4.0, 6.0]], np.float32)
    assert [aspect.of(depth) for aspect in strata.ASPECTS["depth"]] == pytest.approx([4, np.std([2, 4, 6])])
    tone = np.sin(np.linspace(0, 20 * np.pi, 1000, endpoint=False) + 0.1)[None]
    assert [aspect.of(tone) for aspect in strata.ASPECTS["audio"]] == pytest.approx([np.sqrt(0.5), 20 / 999], rel=0.06)
    assert strata.ASPECTS["text"][0].of(np.array("a dog")) == 5


def test_nothing_to_draw_from() -> None:
    assert strata.draw(np.zeros(0, np.int64), 10, 0).tolist() == []
