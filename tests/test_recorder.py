from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgebind import recorder
from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Chunk
from edgebind.sources.file import open_recording
from edgebind.testing import ListSource

IMU = WindowSpec(100, 1, 0.5, ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s²",) * 3 + ("rad/s",) * 3)


def signal(count: int, first: int = 0) -> Chunk:
    """`count` samples at 100 Hz, gravity on z."""
    times = np.arange(first, first + count, dtype=np.int64) * (NANOSECONDS // 100)
    samples = np.random.default_rng(first).normal(size=(count, 6)).astype(np.float32)
    samples[:, 2] += 9.81
    return Chunk(times, samples, "imu")


class Faulty(ListSource):
    """Ends in an error behind its chunks."""

    def __init__(self, chunks: list[Chunk], error: BaseException) -> None:
        super().__init__(chunks)
        self._error = error

    def __iter__(self) -> Iterator[Chunk]:
        yield from self.chunks
        raise self._error


def test_a_signal_reads_back_as_it_came(tmp_path: Path) -> None:
    chunks = [signal(30, first) for first in range(0, 300, 30)]
    recorded = recorder.record(ListSource(chunks), tmp_path / "sub" / "walk.npz")
    assert (recorded.samples, recorded.ended) == (300, None)
    assert recorded.seconds == pytest.approx(2.99)
    replayed = list(open_recording(recorded.path, "imu", IMU, chunk_seconds=1.0))
    np.testing.assert_array_equal(
        np.concatenate([c.samples for c in replayed]), np.concatenate([c.samples for c in chunks])
    )
    np.testing.assert_array_equal(np.concatenate([c.times for c in replayed]), np.arange(300) * 10_000_000)
    assert [path.name for path in recorded.path.parent.iterdir()] == ["walk.npz"]


def test_another_recorders_file_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "walk.npz"
    target.write_bytes(b"from one that began in the same second")
    recorded = recorder.record(ListSource([signal(30)]), target)
    assert recorded.path == tmp_path / "walk-2.npz"
    assert target.read_bytes() == b"from one that began in the same second"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("seconds", "samples"), [(0.5, 50), (0.005, 1), (10.0, 300)])
def test_it_stops_by_the_sources_own_clock(tmp_path: Path, seconds: float, samples: int) -> None:
    source = ListSource([signal(30, first) for first in range(0, 300, 30)])
    assert recorder.record(source, tmp_path / "walk.npz", seconds=seconds).samples == samples
    assert source.is_closed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RecordingError("the cable is out")])
def test_what_came_before_the_end_is_kept_whole(tmp_path: Path, error: BaseException) -> None:
    recorded = recorder.record(Faulty([signal(120), signal(30, 120)], error), tmp_path / "walk.npz")
    assert recorded.ended is error
    assert sum(len(chunk) for chunk in open_recording(recorded.path, "imu", IMU)) == 150


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RecordingError("the cable is out")])
def test_nothing_is_written_of_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        recorder.record(Faulty([], error), tmp_path / "walk.npz")
    with pytest.raises(RecordingError, match="list: nothing came"):
        recorder.record(ListSource([]), tmp_path / "walk.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_frames_read_back(tmp_path: Path, dtype: type) -> None:
    frames: np.ndarray = np.random.default_rng(0).integers(0, 90, (5, 12, 16)).astype(dtype)
    chunks = [Chunk(np.array([place * 125_000_000]), frames[place : place + 1]) for place in range(5)]
    spec = WindowSpec(8, 0.125, 0.125, ("intensity",), ("°C",))
    recorded = recorder.record(ListSource(chunks, "thermal"), tmp_path / "night.npz")
    replayed = list(open_recording(recorded.path, "thermal", spec))
    np.testing.assert_array_equal(np.concatenate([c.samples for c in replayed]), frames)
    assert replayed[0].samples.dtype == dtype


def test_frames_that_change_their_size_end_the_recording(tmp_path: Path) -> None:
    chunks = [Chunk(np.array([place]), np.zeros((1, 4 + place, 4), np.uint8), "cam") for place in range(2)]
    recorded = recorder.record(ListSource(chunks, "thermal"), tmp_path / "night.npz")
    assert recorded.samples == 1
    assert "samples change their size" in str(recorded.ended)


def test_sound_reads_back_to_16_bits(tmp_path: Path) -> None:
    tone = np.sin(np.arange(32_000) / 7).astype(np.float32)[:, None] * 0.7
    times = (np.arange(32_000) * (NANOSECONDS / 16_000)).astype(np.int64)
    spec = WindowSpec(16_000, 2, 1, ("pressure",), ("full scale",))
    recorded = recorder.record(ListSource([Chunk(times, tone)], "audio"), tmp_path / "tone.wav", rate_hz=16_000)
    replayed = np.concatenate([chunk.samples for chunk in open_recording(recorded.path, "audio", spec)])
    np.testing.assert_allclose(replayed, tone, atol=1 / 32768)


def test_names_tell_the_sensor_and_the_time_and_are_never_taken_twice(tmp_path: Path) -> None:
    first = recorder.name_for(tmp_path, "imu", now=1_769_860_800)
    assert first.name == "imu-20260131T120000Z.npz"
    first.touch()
    assert recorder.name_for(tmp_path, "imu", now=1_769_860_800).name == "imu-20260131T120000Z-2.npz"
    assert recorder.name_for(tmp_path, "audio", now=0).name == "audio-19700101T000000Z.wav"
    with pytest.raises(OptionError, match="prompts are written"):
        recorder.name_for(tmp_path, "text")
