"""Which reader a path gets, NPZ files, folders of pictures, and the schemes of --source."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind import sources
from edgebind.errors import EdgebindError, OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import Chunk
from edgebind.sources import units
from edgebind.sources.file import open_recording
from tests.recordings import csv, spec, stamps, still

CAMERA = WindowSpec(8.0, 0.125, 0.125, ("intensity",), ("grey level",))


def read(path: Path, modality: str = "imu", rate: float | None = None) -> list[Chunk]:
    with open_recording(path, modality, spec() if modality == "imu" else CAMERA, rate_hz=rate) as source:
        return list(source)


def npz(folder: Path, **arrays: object) -> Path:
    path = folder / "recording.npz"
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return path


def picture(path: Path, level: int) -> Path:
    Image.fromarray(np.full((6, 8), level, np.uint8)).save(path)
    return path


def test_a_signal_in_npz(tmp_path: Path) -> None:
    chunks = read(npz(tmp_path, times=stamps(400), samples=still(400)))
    np.testing.assert_array_equal(np.concatenate([c.times for c in chunks]), stamps(400))
    np.testing.assert_allclose(np.concatenate([c.samples for c in chunks]), still(400), atol=1e-6)


def test_npz_without_times_needs_a_rate(tmp_path: Path) -> None:
    path = npz(tmp_path, samples=still(400))
    assert read(path, rate=50.0)[-1].times[-1] == stamps(400, 50.0)[-1]
    with pytest.raises(RecordingError, match=r"no array 'times'.*--rate"):
        read(path)


def test_frames_in_npz_keep_their_dtype(tmp_path: Path) -> None:
    frames = np.arange(5 * 4 * 3, dtype=np.uint16).reshape(5, 4, 3)
    chunks = read(npz(tmp_path, times=stamps(5, 8.0), frames=frames), "thermal")
    assert len(chunks) == 5
    assert chunks[0].samples.dtype == np.uint16
    np.testing.assert_array_equal(np.concatenate([c.samples for c in chunks]), frames)


def test_ten_times_the_frames_take_the_same_memory(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = npz(tmp_path, times=stamps(count, 8.0), frames=np.zeros((count, 64, 80), np.float32))
        tracemalloc.start()
        try:
            with open_recording(path, "thermal", CAMERA) as source:
                assert sum(len(chunk) for chunk in source) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(200) < peak(20) + 50_000


def test_frames_without_times_run_at_the_bundles_rate(tmp_path: Path) -> None:
    chunks = read(npz(tmp_path, frames=np.ones((3, 4, 5), np.uint8)), "thermal")
    assert [int(c.times[0]) for c in chunks] == [0, 125_000_000, 250_000_000]


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing wanted": ({"other": still(3)}, "imu", "no array 'samples'"),
    "no frames": ({"samples": still(3)}, "thermal", "no array 'frames'"),
    "channels": ({"times": stamps(3), "samples": np.zeros((3, 5))}, "imu", r"another shape.*\(n, 6\).*\(3, 5\)"),
    "no pictures": ({"times": stamps(3), "frames": np.zeros((3, 5))}, "thermal", "another shape"),
    "empty": ({"times": stamps(0), "samples": np.zeros((0, 6))}, "imu", "no samples"),
    "text": ({"times": stamps(1), "samples": np.full((1, 6), "a")}, "imu", "no numbers"),
    "objects": ({"times": stamps(1), "samples": np.full((1, 6), None)}, "imu", "arrays without objects"),
    "other times": ({"times": stamps(3), "samples": still(4)}, "imu", "times do not fit"),
    "float times": ({"times": np.zeros(3), "samples": still(3)}, "imu", "times do not fit.*int64"),
    "backwards": ({"times": stamps(400)[::-1], "samples": still(400)}, "imu", "row 1: time goes backwards"),
    "beyond 64 bits": (
        {"times": np.full(3, 2**63, np.uint64), "samples": still(3)},
        "imu",
        "row 0: no time of a recording",
    ),
    "far past": ({"times": [-(2**62), 0, 1], "samples": still(3)}, "imu", "row 0: no time of a recording.*146 years"),
    "NaN": ({"times": stamps(400), "samples": np.full((400, 6), np.nan)}, "imu", "row 0: not a number"),
    "units": ({"times": stamps(400), "samples": still(400) / 9.81}, "imu", "out of physical range"),
    "frames backwards": ({"times": [5, 3], "frames": np.ones((2, 4, 5))}, "thermal", "row 1: time goes backwards"),
    "NaN frames": ({"times": [3, 5], "frames": np.full((2, 4, 5), np.nan)}, "thermal", "row 0: not a number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_npz_files_get_one_line(tmp_path: Path, case: str) -> None:
    arrays, modality, expected = BAD[case]
    path = npz(tmp_path, **arrays)
    with pytest.raises(RecordingError, match=expected) as caught:
        read(path, modality)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"rubbish", b"PK\x03\x04cut"])
def test_a_file_that_is_no_npz(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "recording.npz"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="is no NPZ file"):
        read(path)


def test_a_single_array_is_no_npz(tmp_path: Path) -> None:
    with open(tmp_path / "recording.npz", "wb") as stream:
        np.save(stream, still(400))
    with pytest.raises(RecordingError, match="is one array"):
        read(tmp_path / "recording.npz")


def test_a_folder_of_pictures_in_the_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 100):
        picture(tmp_path / f"frame_{number}.png", number)
    (tmp_path / "notes.txt").write_text("not a picture")
    chunks = read(tmp_path, "thermal")
    assert [int(c.samples[0, 0, 0]) for c in chunks] == [9, 10, 100]
    assert [int(c.times[0]) for c in chunks] == [0, 125_000_000, 250_000_000]
    assert chunks[0].origin == str(tmp_path / "frame_9.png")
    assert [int(c.times[0]) for c in read(tmp_path, "thermal", rate=4.0)][1] == 250_000_000


def test_a_single_picture(tmp_path: Path) -> None:
    (chunk,) = read(picture(tmp_path / "one.png", 7), "thermal")
    assert chunk.samples.shape == (1, 6, 8)


def test_an_image_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_text("not a picture")
    with pytest.raises(RecordingError, match=r"one.png: is no picture"):
        read(tmp_path, "thermal")


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no pictures in this folder"):
        read(tmp_path, "thermal")


@pytest.mark.parametrize(
    ("name", "modality", "expected"),
    [
        ("absent.csv", "imu", "no such recording"),
        ("walk.csv", "thermal", "not a recording of thermal"),
        ("walk.wav", "imu", "not a recording of imu.*CSV, CSV.gz or NPZ.*got .wav"),
        ("folder", "imu", "not a recording of imu.*a folder"),
        ("walk.csv", "smell", "unknown modality"),
    ],
)
def test_paths_that_are_no_recording(tmp_path: Path, name: str, modality: str, expected: str) -> None:
    (tmp_path / "walk.csv").write_text(csv())
    (tmp_path / "walk.wav").write_bytes(b"RIFF")
    (tmp_path / "folder").mkdir()
    with pytest.raises(EdgebindError, match=expected):
        read(tmp_path / name, modality)


def test_units_of_an_npz(tmp_path: Path) -> None:
    """The same walk in g, degrees and milliseconds."""
    samples = still(400) + np.linspace(0, 1, 400, dtype=np.float32)[:, None]
    expected = list(open_recording(npz(tmp_path, times=stamps(400), samples=samples), "imu", spec()))
    factors = np.array([9.80665] * 3 + [np.pi / 180] * 3)
    path = npz(tmp_path, times=stamps(400) // 1_000_000, samples=samples / factors)
    got = list(open_recording(path, "imu", spec(), units=units.parse("acc=g,gyro=deg/s,time=ms")))
    np.testing.assert_array_equal([chunk.times[0] for chunk in got], [chunk.times[0] for chunk in expected])
    np.testing.assert_allclose(
        np.concatenate([chunk.samples for chunk in got]),
        np.concatenate([chunk.samples for chunk in expected]),
        rtol=1e-6,
    )


def test_nanoseconds_that_are_called_seconds(tmp_path: Path) -> None:
    """146 years are 4.61e9 s, which the 462nd of these stamps passes."""
    path = npz(tmp_path, times=stamps(500), samples=still(500))
    with pytest.raises(RecordingError, match=r"row 462: no time of a recording.*4\.62e\+09 s"):
        list(open_recording(path, "imu", spec(), units=units.parse("time=s")))


def test_an_npz_in_g_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    path = npz(tmp_path, times=stamps(400), samples=still(400) / np.float32(9.80665))
    with pytest.raises(RecordingError, match="say --units acc=g"):
        list(open_recording(path, "imu", spec()))
    assert list(open_recording(path, "imu", spec(), units=units.parse("acc=g")))


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_rates_that_do_not_fit(tmp_path: Path, rate: float) -> None:
    with pytest.raises(OptionError, match="--rate does not fit"):
        open_recording(tmp_path, "thermal", CAMERA, rate_hz=rate)


def test_a_source_by_its_scheme(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text(csv())
    with sources.open_source(f"file:{path}", sources.Wanted("imu", spec())) as source:
        assert (source.name, source.modality) == (str(path), "imu")
        assert sum(len(chunk) for chunk in source) == 400
    assert sources.is_recorded(f"file:{path}")


@pytest.mark.parametrize("text", ["walk.csv", "smoke:signals", "file:", ""])
def test_unknown_sources(text: str) -> None:
    with pytest.raises(OptionError, match=r"unknown source.*file:PATH"):
        sources.open_source(text, sources.Wanted("imu", spec()))
