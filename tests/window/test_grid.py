"""The grid: where windows begin and end, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from edgebind.errors import OptionError, RecordingError
from edgebind.signals import NANOSECONDS, Chunk
from edgebind.window import Windower
from tests.recordings import spec, stamps, still, windows
from tests.window.signals import MS


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
