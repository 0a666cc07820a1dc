"""Windows: the grid, independence of chunks, gaps, batches, rates, quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgebind import clock
from edgebind.errors import OptionError, RecordingError
from edgebind.frames import FrameWindower
from edgebind.signals import NANOSECONDS, Chunk, Floats, Times
from edgebind.window import Windower, make_windower
from tests.recordings import read_borealtc, read_spsw, spec, stamps, still, windows

MS = 1_000_000


def sines(times_s: NDArray[np.float64], hz: float = 2.0) -> Floats:
    """(n, 6): one sine on six channels, of another phase each."""
    phases = np.arange(6) / 6
    values: Floats = np.sin(2 * np.pi * (hz * times_s[:, None] + phases)).astype(np.float32)
    return values


def on_grid(start_ns: int, length: int = 300, rate: float = 100.0, hz: float = 2.0) -> Floats:
    values: Floats = sines(start_ns / NANOSECONDS + np.arange(length) / rate, hz).T
    return values


def batched(count: int, size: int, rate_hz: float = 100.0) -> Times:
    """Stamps of samples that are sent, and stamped, `size` at a time when the last of them was taken."""
    number = np.arange(count)
    stamped: Times = stamps(count, rate_hz)[np.minimum((number // size + 1) * size - 1, count - 1)]
    return stamped


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_windows_start_at_the_first_sample_and_then_every_hop() -> None:
    # samples   |||||||||||||||||||||||||||||||||||||||||    7 + (0 .. 3.99 s)
    # 0         [-----------------------------)
    # 1              [-----------------------------)
    # 2                   [-----------------------------)
    # 3                        [--------------------------    not finished: dropped
    start = 7 * NANOSECONDS
    found, _ = windows(spec(), stamps(400, start_ns=start), still(400).astype(np.float32))
    assert [w.start_ns - start for w in found] == [0, 500 * MS, 1000 * MS]
    assert all(w.stop_ns - w.start_ns == 3 * NANOSECONDS for w in found)
    assert all(w.samples.shape == (6, 300) and w.samples.dtype == np.float32 for w in found)


def test_exactly_one_window() -> None:
    assert len(windows(spec(), stamps(300), still(300).astype(np.float32))[0]) == 1
    assert len(windows(spec(), stamps(298), still(298).astype(np.float32))[0]) == 0


def test_samples_on_the_grid_come_out_as_they_are() -> None:
    samples = still(400).astype(np.float32)
    found, _ = windows(spec(), stamps(400), samples)
    np.testing.assert_allclose(found[1].samples, samples[50:350].T, atol=1e-5)
    assert found[1].samples.flags.c_contiguous


def test_a_window_comes_with_its_last_sample_and_not_later() -> None:
    windower = Windower(spec())
    times, samples = stamps(400), still(400).astype(np.float32)
    assert windower.push(Chunk(times[:299], samples[:299])) == []
    assert len(windower.push(Chunk(times[299:300], samples[299:300]))) == 1


def test_a_windower_takes_another_signal_after_the_end() -> None:
    windower = Windower(spec())
    chunk = Chunk(stamps(300), still(300).astype(np.float32))
    first = windower.push(chunk) + windower.finish()
    second = windower.push(chunk) + windower.finish()
    assert len(first) == len(second) == 1
    np.testing.assert_array_equal(first[0].samples, second[0].samples)


# --- chunks do not matter ---------------------------------------------------------------------------------------------


def disturbed(seed: int) -> tuple[Times, Floats]:
    """A signal with everything that can happen: jitter, batches, lost samples, a long gap, a repeated sample."""
    rng = np.random.default_rng(seed)
    rate = rng.choice([50.0, 97.0, 104.0, 233.0])
    true = stamps(900, rate) + rng.integers(0, 4 * MS, 900)
    size = int(rng.integers(1, 8))
    late = np.maximum.accumulate(np.where(rng.random(900) < 0.3, batched(900, size, rate), true))
    keep = rng.random(900) > 0.02
    keep[400 : 400 + int(rng.integers(0, 60))] = False
    late[700:] += int(rng.choice([0, 4 * NANOSECONDS]))
    samples = sines(true / NANOSECONDS)
    late[801], samples[801] = late[800], samples[800]
    return np.maximum.accumulate(late)[keep], samples[keep]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 800), max_size=40), whole=st.booleans())
def test_any_chunks_give_the_same_windows(seed: int, cuts: list[int], whole: bool) -> None:
    times, samples = disturbed(seed)
    single = [] if whole else list(range(1, len(times)))
    expected, _ = windows(spec(), times, samples, single)
    found, _ = windows(spec(), times, samples, [cut for cut in cuts if cut <= len(times)])
    assert [w.start_ns for w in found] == [w.start_ns for w in expected]
    assert all(a.samples.tobytes() == b.samples.tobytes() for a, b in zip(found, expected, strict=True))
    assert [w.quality for w in found] == [w.quality for w in expected]


def nearly_even(seed: int) -> tuple[Times, Floats]:
    """A signal whose windows are cut together where they can be: small jitter, now and then a lost or a late sample."""
    rng = np.random.default_rng(seed)
    rate = float(rng.choice([50.0, 100.0, 101.3, 250.0, 400.0]))
    count = int(8 * rate)
    jitter = rng.choice([0.0, 0.05, 0.12, 0.2]) * rng.uniform(-1, 1, count)
    slow = rng.choice([0.0, 0.0, 3e-3]) * np.arange(count) ** 2 / count
    times = 1_700_000_000_000_000_000 + np.round((np.arange(count) + jitter + slow) * NANOSECONDS / rate).astype(
        np.int64
    )
    samples = np.round(sines((times - times[0]) / NANOSECONDS) * 60, 1)  # round: flat tops here and there
    keep = rng.random(count) > rng.choice([0.0, 0.002])
    late = rng.integers(1, count, int(rng.choice([0, 2])))
    times[late] = np.maximum(times[late], times[late - 1]) + rng.integers(0, int(0.6 * NANOSECONDS / rate))
    return np.maximum.accumulate(times)[keep], samples[keep]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 300), cuts=st.lists(st.integers(0, 3200), max_size=30), size=st.sampled_from([3, 50]))
def test_windows_cut_together_are_those_cut_alone(seed: int, cuts: list[int], size: int) -> None:
    times, samples = nearly_even(seed)
    expected, _ = windows(spec(seconds=2.0, hop=0.25), times, samples, range(size, len(times), size))
    found, _ = windows(spec(seconds=2.0, hop=0.25), times, samples, [cut for cut in cuts if cut <= len(times)])
    assert [w.start_ns for w in found] == [w.start_ns for w in expected]
    assert all(a.samples.tobytes() == b.samples.tobytes() for a, b in zip(found, expected, strict=True))
    assert [w.quality for w in found] == [w.quality for w in expected]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 300), edges=st.lists(st.tuples(st.integers(0, 350), st.integers(1, 400)), min_size=1))
def test_lines_drawn_together_are_those_drawn_alone(seed: int, edges: list[tuple[int, int]]) -> None:
    times, _ = nearly_even(seed)
    firsts, lasts = (sorted(column) for column in zip(*((a, a + n) for a, n in edges), strict=True))
    stretches = [(first, min(last, len(times) - 1)) for first, last in zip(firsts, lasts, strict=True)]
    for (first, last), line in zip(stretches, clock.even_lines(times, stretches), strict=True):
        alone = clock.straighten(times[first : last + 1])
        if line is not None:
            assert alone.is_even and not len(alone.gaps)
            assert line == clock.Line(float(alone.times[0]), alone.period)
            slope, offset = np.polyfit(np.arange(last - first + 1), times[first : last + 1] - times[first], 1)
            assert line.period == pytest.approx(slope, rel=1e-9)
            assert line.offset == pytest.approx(offset, abs=1e-6 * slope * (last - first))


def test_an_even_clock_is_never_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = windows(spec(), stamps(3000), still(3000).astype(np.float32))
    monkeypatch.delattr(Windower, "_look")
    windower = Windower(spec())
    found = windower.push(Chunk(stamps(3000), still(3000).astype(np.float32)))
    assert len(found) == len(expected) == 55
    assert all(a.samples.tobytes() == b.samples.tobytes() for a, b in zip(found, expected, strict=True))


def test_the_end_of_no_signal_is_no_window() -> None:
    assert Windower(spec()).finish() == []


# --- clocks that are not even -----------------------------------------------------------------------------------------


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


# --- gaps -------------------------------------------------------------------------------------------------------------


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


# --- real recordings --------------------------------------------------------------------------------------------------


def whole_recording(times: Times, samples: Floats, start_ns: int, shift_s: float = 0.0) -> Floats:
    """An independent way: one straight line for the whole recording, then straight lines between samples."""
    number = np.arange(len(times))
    seconds = (times - times[0]) / 1e9
    slope, offset = np.polyfit(number, seconds, 1)
    at = ((start_ns - times[0]) / 1e9 + np.arange(300) / 100 - offset + shift_s) / slope
    straight: Floats = np.stack([np.interp(at, number, channel) for channel in samples.T])
    return straight


def test_robot_recordings_agree_with_an_independent_implementation(shared: Path) -> None:
    for path in sorted((shared / "data" / "imu_borealtc").glob("*/imu_02.csv.gz")):
        times, samples = read_borealtc(path)
        found, _ = windows(spec(), times, samples)
        assert len(found) == int((times[-1] - times[0] - 2990 * MS) // (500 * MS)) + 1
        assert max(np.abs(w.samples - whole_recording(times, samples, w.start_ns)).max() for w in found) < 0.01


@pytest.mark.parametrize("device", ["sp", "sw"])
def test_phone_and_watch_recordings_agree_with_an_independent_implementation(shared: Path, device: str) -> None:
    paths = sorted((shared / "data" / "imu_spsw").glob(f"*/*_{device}.csv.gz"))
    assert paths
    for path in paths[::7]:
        times, samples = read_spsw(path)
        found, _ = windows(spec(), times, samples)
        assert len(found) >= int((times[-1] - times[0]) / 1e9 - 3.1) * 2
        errors = [closest(w.samples, times, samples, w.start_ns) for w in found]
        assert np.median(errors) < 0.05
        assert max(errors) < 0.2


def closest(window: Floats, times: Times, samples: Floats, start_ns: int) -> float:
    """Difference relative to the signal's own spread, with the constant delay left free: at most a sample and a half."""
    references = [whole_recording(times, samples, start_ns, shift) for shift in np.arange(-0.015, 0.016, 0.001)]
    spread = references[15].std() + 0.05
    return min(float(np.sqrt(np.mean((window - r) ** 2)) / spread) for r in references)


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


# --- what is refused --------------------------------------------------------------------------------------------------


def test_other_channels_are_refused() -> None:
    with pytest.raises(RecordingError, match="other channels"):
        Windower(spec()).push(Chunk(stamps(3), np.zeros((3, 5), np.float32)))


def test_each_sample_needs_a_time() -> None:
    with pytest.raises(RecordingError, match="each sample needs a time"):
        Windower(spec()).push(Chunk(stamps(3), np.zeros((4, 6), np.float32)))


@pytest.mark.parametrize("split", [1, 2])
def test_time_that_goes_backwards_is_refused(split: int) -> None:
    windower = Windower(spec())
    times = np.array([0, 20, 10]) * MS
    windower.push(Chunk(times[:split], np.zeros((split, 6), np.float32)))
    with pytest.raises(RecordingError, match="time goes backwards"):
        windower.push(Chunk(times[split:], np.zeros((3 - split, 6), np.float32)))


def test_a_clock_that_stands_still_is_refused_before_memory_runs_out() -> None:
    windower = Windower(spec())
    with pytest.raises(RecordingError, match="clock stands still"):
        for _ in range(400):
            windower.push(Chunk(np.zeros(1000, np.int64), np.random.default_rng(0).random((1000, 6), np.float32)))


def test_a_coverage_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="coverage"):
        Windower(spec(), min_coverage=1.5)


def test_memory_stays_bounded() -> None:
    windower = Windower(spec())
    times, samples = stamps(60_000), np.zeros((60_000, 6), np.float32)
    for begin in range(0, 60_000, 50):
        windower.push(Chunk(times[begin : begin + 50], samples[begin : begin + 50]))
    assert len(windower._buffer.times) < 10_000


# --- frames -----------------------------------------------------------------------------------------------------------


def frames(*moments_ms: int) -> Chunk:
    pictures = np.full((len(moments_ms), 4, 5), 100, np.uint8)
    return Chunk(np.array(moments_ms, np.int64) * MS, pictures)


def test_each_frame_is_a_window() -> None:
    windower = make_windower(spec(8.0, 0.125, 0.125), "thermal")
    found = windower.push(frames(1000, 1125, 1250))
    assert [(w.start_ns, w.stop_ns) for w in found] == [(t * MS, (t + 125) * MS) for t in (1000, 1125, 1250)]
    assert found[0].samples.dtype == np.uint8
    assert windower.finish() == []


def test_frames_faster_than_the_hop_are_dropped_and_counted() -> None:
    # frames  |   |   |   |   |   |   |      30 Hz
    # taken   |           |           |      a hop of 125 ms, less a quarter because cameras are not punctual
    windower = FrameWindower(spec(8.0, 0.125, 0.125))
    found = windower.push(frames(0, 33, 67, 100, 133, 167, 200))
    assert [w.start_ns // MS for w in found] == [0, 100, 200]
    assert windower.counters.dropped == 4
    assert len(FrameWindower(spec(8.0, 0.125, 0.125), every_frame=True).push(frames(0, 33, 67))) == 3


def test_pixels_at_the_limit_count_as_saturated() -> None:
    chunk = frames(0)
    chunk.samples[0, 0, :] = 255
    (window,) = FrameWindower(spec(8.0, 0.125, 0.125)).push(chunk)
    assert window.quality.saturated == 0.25


def test_frames_whose_time_goes_backwards_are_refused() -> None:
    with pytest.raises(RecordingError, match="time goes backwards"):
        FrameWindower(spec(8.0, 0.125, 0.125)).push(frames(100, 0))


def test_a_signal_is_no_frame() -> None:
    with pytest.raises(RecordingError, match="no frames"):
        FrameWindower(spec(8.0, 0.125, 0.125)).push(Chunk(stamps(3), np.zeros((3, 6), np.float32)))
