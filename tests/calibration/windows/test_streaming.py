from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration import ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.observers import MinMax
from edgebind.calibration.windows import recordings, streaming
from edgebind.calibration.windows.streaming import Part, Streamed
from edgebind.errors import CalibrationError, RecordingError
from tests.calibration.windows.test_sets import IMU, motion, write


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    for place in range(4):
        write(tmp_path / "walks" / f"{place}.csv", motion(20, place))
    return tmp_path / "walks"


def peak(batches: Iterable[Batch], encoder: Path) -> int:
    """Most bytes that Python and NumPy held at a time while ranges were taken."""
    tracemalloc.start()
    try:
        ranges.collect(encoder, batches, {"minmax": MinMax})
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ten_times_the_windows_take_the_same_memory(encoder: Path, walks: Path) -> None:
    """Real windows through a real graph, whose input is the first of their channels."""
    streamed = Streamed(tuple(Part(f"{i}.csv", walks / f"{i}.csv") for i in range(4)), IMU)

    def windows(count: int) -> Iterator[Batch]:
        again = chain.from_iterable(repeat(streamed))
        return (Batch(batch.recording, batch.inputs[:, :3, :32]) for batch in islice(again, count))

    few = peak(windows(40), encoder)
    assert peak(windows(400), encoder) < few + 100_000


def test_every_window_of_what_calibrates_comes_once(walks: Path) -> None:
    read = recordings.read([walks], IMU)
    calibration, _ = recordings.split(read)
    streamed = list(streaming.calibration_part([walks], read, IMU))
    assert [batch.recording for batch in streamed] == [b.recording for b in calibration for _ in range(len(b))]
    together = np.concatenate([batch.inputs for batch in streamed])
    np.testing.assert_array_equal(together, np.concatenate([batch.inputs for batch in calibration]))


def test_of_a_single_recording_the_first_two_thirds(walks: Path) -> None:
    paths = [walks / "0.csv"]
    read = recordings.read(paths, IMU)
    (calibration,), _ = recordings.split(read)
    streamed = np.concatenate([batch.inputs for batch in streaming.calibration_part(paths, read, IMU)])
    np.testing.assert_array_equal(streamed, calibration.inputs)


def test_the_places_that_are_wanted(walks: Path) -> None:
    everything = list(Streamed((Part("0.csv", walks / "0.csv"),), IMU))
    some = list(Streamed((Part("0.csv", walks / "0.csv", frozenset({3, 7})),), IMU))
    assert len(some) == 2
    for found, place in zip(some, (3, 7), strict=True):
        np.testing.assert_array_equal(found.inputs, everything[place].inputs)
    with pytest.raises(CalibrationError, match=r"0\.csv: gives no window"):
        list(Streamed((Part("0.csv", walks / "0.csv", frozenset({1000})),), IMU))


def test_a_bad_recording_stops_the_stream_with_its_name_after_the_good_ones(walks: Path) -> None:
    table = motion(20, 2)
    table[1500, 2] = np.nan
    write(walks / "2.csv", table)
    seen: list[str] = []
    with pytest.raises(RecordingError, match=r"2\.csv, line 1502: not a number"):
        for batch in streaming.whole([walks], IMU):
            seen.append(batch.recording)
    assert {"0.csv", "1.csv"} <= set(seen)
    assert "3.csv" not in seen
