"""Millimetres and kelvin in 16-bit pictures become metres and °C, and what cannot be either is refused."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgebind.errors import EdgebindError, OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.sources import units
from edgebind.sources.file import open_recording
from tests.recordings import spec

CAMERA = WindowSpec(30.0, 1 / 30, 1 / 30, ("distance",), ("m",))


def read(path: Path, modality: str, said: str) -> NDArray[Any]:
    """All frames."""
    with open_recording(path, modality, CAMERA, units=units.parse(said)) as source:
        return np.concatenate([chunk.samples for chunk in source])


def write(path: Path, frame: NDArray[Any]) -> Path:
    Image.fromarray(frame).save(path)
    return path


def lepton(path: Path) -> NDArray[np.uint16]:
    """(120, 160) of a frame that a tCam recorded."""
    words = base64.b64decode(json.loads(path.read_text(encoding="latin-1"))["radiometric"])
    return np.frombuffer(words, "<u2").reshape(120, 160)


def test_millimetres_of_a_real_png(shared: Path) -> None:
    path = shared / "data" / "depth_rgbd" / "redwood_depth.png"
    with Image.open(path) as picture:
        counts = np.asarray(picture).astype(np.float64)
    (frame,) = read(path, "depth", "depth=mm")
    assert frame.dtype == np.float32 and frame.shape == (480, 640)
    np.testing.assert_allclose(frame, counts / 1000, rtol=1e-6)
    assert (frame == 0).any() and 0.5 < np.median(frame[frame > 0]) < 5


def test_millimetres_of_a_real_pgm(shared: Path) -> None:
    path = shared / "data" / "depth_rgbd" / "depth_1.pgm.gz"
    data = gzip.decompress(path.read_bytes())
    counts = np.frombuffer(data[-2 * 640 * 480 :], ">u2").reshape(480, 640)
    (frame,) = read(path, "depth", "depth=mm")
    np.testing.assert_allclose(frame, counts / 1000, rtol=1e-6)


def test_centikelvin_of_a_real_lepton(shared: Path, tmp_path: Path) -> None:
    counts = lepton(shared / "data" / "thermal_radiometric" / "agc_off.tjsn")
    (frame,) = read(write(tmp_path / "room.png", counts), "thermal", "thermal=cK")
    np.testing.assert_allclose(frame, counts / 100 - 273.15, atol=2e-5)
    assert 15 < np.median(frame) < 30  # a room


def test_a_lepton_that_stretched_its_grey_levels_is_not_radiometric(shared: Path, tmp_path: Path) -> None:
    counts = lepton(shared / "data" / "thermal_radiometric" / "agc_on.tjsn")
    with pytest.raises(RecordingError, match=r"room\.png: thermal cannot be true .*got -272"):
        read(write(tmp_path / "room.png", counts), "thermal", "thermal=cK")


@pytest.mark.parametrize(
    ("said", "value", "expected"),
    [
        ("depth=mm", 1500, 1.5),
        ("depth=cm", 150, 1.5),
        ("depth=m", 2, 2.0),
        ("depth=Millimetres", 1500, 1.5),
        ("thermal=cK", 29315, 20.0),
        ("thermal=dK", 2932, 20.05),
        ("thermal=K", 293, 19.85),
        ("thermal=kelvin", 293, 19.85),
        ("thermal=C", 20, 20.0),
        ("thermal=°C", 20, 20.0),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_every_unit_in_pictures_and_arrays(tmp_path: Path, said: str, value: int, expected: float, dtype: type) -> None:
    quantity = said.partition("=")[0]
    frame: NDArray[Any] = np.full((6, 8), value, dtype)
    suffix = "png" if dtype is np.uint16 else "tiff"
    np.testing.assert_allclose(read(write(tmp_path / f"x.{suffix}", frame), quantity, said), expected, rtol=1e-6)
    np.savez(tmp_path / "x.npz", frames=frame[None])
    np.testing.assert_allclose(read(tmp_path / "x.npz", quantity, said), expected, rtol=1e-6)


def test_holes_stay_holes(tmp_path: Path) -> None:
    frame = np.full((6, 8), 1500, np.uint16)
    frame[2, 3] = 0
    found = read(write(tmp_path / "x.png", frame), "depth", "depth=mm")
    assert np.flatnonzero(found == 0).tolist() == [2 * 8 + 3]


def test_nothing_but_holes_is_left_to_the_preprocessor(tmp_path: Path) -> None:
    assert not read(write(tmp_path / "x.png", np.zeros((6, 8), np.uint16)), "depth", "depth=mm").any()


@pytest.mark.parametrize(
    ("modality", "said", "frame", "expected"),
    [
        ("thermal", "thermal=cK", np.full((6, 8), 80, np.uint8), r"cannot have a unit .*16-bit.*got uint8, thermal=cK"),
        ("thermal", "thermal=K", np.full((6, 8), 29315, np.uint16), "thermal cannot be true.*got 2.904e.04 °C"),
        ("thermal", "thermal=C", np.full((6, 8), 29315, np.uint16), r"is it in °C\? say --units thermal=°C or K"),
        ("thermal", "thermal=cK", np.full((6, 8), 7000, np.uint16), r"cannot be true.*got -203.*°C"),
        ("depth", "depth=m", np.full((6, 8), 1500, np.uint16), "depth cannot be true.*got 1500 m"),
        ("depth", "depth=mm", np.full((6, 8), 1.5, np.float32), "depth cannot be true.*got 0.0015 m"),
        ("depth", "depth=mm", np.full((6, 8), 150, np.uint8), "cannot have a unit"),
    ],
)
def test_values_that_cannot_be_in_this_unit(
    tmp_path: Path, modality: str, said: str, frame: NDArray[Any], expected: str
) -> None:
    path = write(tmp_path / ("x.tiff" if frame.dtype.kind == "f" else "x.png"), frame)
    with pytest.raises(RecordingError, match=rf"x\..*: .*{expected}") as caught:
        read(path, modality, said)
    assert "\n" not in str(caught.value)


def test_a_frame_of_an_array_is_named(tmp_path: Path) -> None:
    frames = np.full((3, 6, 8), 29315, np.uint16)
    frames[2] = 80
    np.savez(tmp_path / "x.npz", frames=frames)
    with pytest.raises(RecordingError, match=r"x\.npz, row 2: thermal cannot be true"):
        read(tmp_path / "x.npz", "thermal", "thermal=cK")


@pytest.mark.parametrize(
    ("modality", "said", "expected"),
    [
        ("depth", "thermal=cK", r"thermal=cK is of another sensor .*wanted depth=m\|cm\|mm, got .* of depth"),
        ("thermal", "depth=mm", r"depth=mm is of another sensor .*wanted thermal=°C\|K\|dK\|cK"),
        ("thermal", "time=ms", "time=ms is of another sensor"),
        ("vision", "depth=mm", "depth=mm is of another sensor.*wanted no --units"),
    ],
)
def test_units_of_another_sensor(tmp_path: Path, modality: str, said: str, expected: str) -> None:
    path = write(tmp_path / "x.png", np.full((6, 8), 1500, np.uint16))
    with pytest.raises(OptionError, match=rf"x\.png: --units {expected}"):
        read(path, modality, said)


def test_frames_have_no_units_of_an_imu(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("")
    with pytest.raises(EdgebindError, match="depth=mm is of another sensor"):
        open_recording(tmp_path / "walk.csv", "imu", spec(), units=units.parse("depth=mm"))


@pytest.mark.parametrize("text", ["depth=cK", "thermal=mm", "depth=furlong", "thermal="])
def test_units_that_do_not_exist(text: str) -> None:
    quantity = text.partition("=")[0]
    with pytest.raises(OptionError, match=f"unknown unit of {quantity}"):
        units.parse(text)
