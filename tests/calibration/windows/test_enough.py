"""What is told ahead, beside what the full reading of the same recordings comes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgebind.calibration import quantise
from edgebind.calibration.windows import collecting, enough, material, recordings, sets
from edgebind.errors import CalibrationError, RecordingError
from edgebind.signals import Window
from tests.calibration.windows.test_sets import IMU, SPEC, motion, write


def told_ahead(path: Path) -> str:
    try:
        enough.require([path], "imu", SPEC)
    except CalibrationError as error:
        return f"{error.what}, got {error.got}"
    return "enough"


def known_in_full(path: Path) -> str:
    read = material.of_recordings([path], IMU)
    try:
        quantise.require_enough(read.calibration, read.held_out)
    except CalibrationError as error:
        return f"{error.what}, got {error.got}"
    return "enough"


@pytest.mark.parametrize(
    ("lengths", "outcome"),
    [
        ([2.1], "too few windows to calibrate INT8 on, got 0"),
        ([12], "too few windows to calibrate INT8 on, got 5"),
        ([29], "too few windows to gate INT8 on, got 7"),
        ([40], "enough"),
        ([90], "enough"),
        ([3, 4, 3], "too few windows to calibrate INT8 on, got 5"),
        ([9, 9, 4], "too few windows to gate INT8 on, got 3"),
        ([10, 10, 10], "enough"),
        ([3] * 40, "enough"),
    ],
)
def test_what_is_told_ahead_is_what_the_full_reading_comes_to(
    tmp_path: Path, lengths: list[float], outcome: str
) -> None:
    for place, seconds in enumerate(lengths):
        write(tmp_path / "walks" / f"{place:02}.csv", motion(seconds, place))
    assert told_ahead(tmp_path / "walks") == known_in_full(tmp_path / "walks") == outcome


def test_a_set_that_draws_too_few_is_told(tmp_path: Path) -> None:
    for place in range(3):
        write(tmp_path / f"{place}.csv", motion(20, place))
    for windows, outcome in ((20, "enough"), (12, "too few windows to calibrate INT8 on, got 12")):
        made = collecting.collect([tmp_path], "imu", SPEC, home=tmp_path, windows=windows)
        assert sum(map(len, collecting.drawn(made))) == windows
        sets.write(made.set, tmp_path / sets.FILE)
        assert told_ahead(tmp_path) == outcome
    write(tmp_path / "1.csv", motion(20, 9))
    assert told_ahead(tmp_path).startswith("a recording of the set has changed")


def test_a_recording_without_a_window_is_told(tmp_path: Path) -> None:
    for place, seconds in enumerate((60, 60, 60, 0.5)):
        write(tmp_path / f"{place}.csv", motion(seconds, place))
    with pytest.raises(RecordingError, match=r"3\.csv: shorter than one window"):
        enough.require([tmp_path], "imu", SPEC)


def test_no_more_is_read_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = recordings.windows

    def counted(*given: object) -> Iterator[Window]:
        for window in real(*given):  # type: ignore[arg-type]
            read.append(window.start_ns)
            yield window

    monkeypatch.setattr(recordings, "windows", counted)
    write(tmp_path / "walk.csv", motion(300, 0))
    enough.require([tmp_path], "imu", SPEC)
    assert len(read) == 64  # of 599
