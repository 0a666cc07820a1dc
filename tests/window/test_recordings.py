"""Real recordings, against an independent implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebind.signals import Floats, Times
from tests.recordings import read_borealtc, read_spsw, spec, windows
from tests.window.signals import MS


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
