from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebind import preprocess
from edgebind.calibration.windows import finding, recordings
from edgebind.calibration.windows.recordings import Recording
from edgebind.errors import CalibrationError, OptionError
from edgebind.manifest import Manifest, WindowSpec
from edgebind.sources import units


def description(modality: str, spec: WindowSpec) -> Manifest:
    return Manifest("test", modality, 8, "fp32", 1.0, spec, dict(preprocess.for_imagebind(modality).to_dict()))


IMU = description("imu", WindowSpec(50, 2, 1, ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s²",) * 3 + ("rad/s",) * 3))
DEPTH = description("depth", WindowSpec(30, 1 / 30, 1 / 30, ("distance",), ("m",)))
THERMAL = description("thermal", WindowSpec(8, 0.125, 0.125, ("intensity",), ("grey level",)))


def recording(name: str, windows: int = 10) -> Recording:
    starts = np.arange(windows, dtype=np.int64) * 100
    return Recording(name, starts, starts + 200, np.zeros((windows, 1), np.float32))


def write_imu(path: Path, seconds: float, seed: int = 0) -> None:
    path.parent.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    times = np.arange(0, seconds, 0.01)
    samples = random.normal(size=(len(times), 6)) + np.array([0, 0, 9.8, 0, 0, 0])
    header = "time,ax,ay,az,gx,gy,gz"
    np.savetxt(path, np.column_stack([times, samples]), delimiter=",", header=header, comments="", fmt="%.5f")


def test_thinning_is_even_and_bounded() -> None:
    assert recordings.thin(range(5), 8) == [0, 1, 2, 3, 4]
    for length in (17, 100, 1000, 1001):
        kept = recordings.thin(iter(range(length)), 8)
        assert 4 <= len(kept) <= 8
        assert len(set(np.diff(kept))) == 1


def test_no_recording_is_in_both_parts() -> None:
    names = [f"{folder}/{i}" for folder in ("ice", "snow") for i in range(4)]
    calibration, held_out = recordings.split([recording(name) for name in names])
    assert {b.recording for b in held_out} == {"ice/2", "snow/2"}
    assert {b.recording for b in calibration} | {b.recording for b in held_out} == set(names)


def test_two_recordings_are_one_for_each_part() -> None:
    calibration, held_out = recordings.split([recording("a"), recording("b")])
    assert [b.recording for b in calibration] == ["a"]
    assert [b.recording for b in held_out] == ["b"]


def test_a_single_recording_is_cut_in_time_with_a_guard() -> None:
    """
    0        600 |cut|      800  1100
    [calibration]    (guard)[gate]
    """
    single = recording("a")
    calibration, held_out = recordings.split([single])
    early, late = len(calibration[0]), len(held_out[0])
    assert early and late
    gap = single.start_ns[len(single.start_ns) - late] - single.stop_ns[early - 1]
    assert gap >= 200


@pytest.mark.parametrize(
    ("frames", "guard_s"),
    [
        (4800, 10),  # 10 min at 8 Hz: as long as neighbouring frames are alike
        (400, 5),  # 50 s: a tenth, so that enough is left
        (27, 0.3),
    ],
)
def test_neighbouring_frames_do_not_stand_on_both_sides(frames: int, guard_s: float) -> None:
    starts = np.arange(frames, dtype=np.int64) * 125_000_000
    video = Recording("video", starts, starts + 125_000_000, starts[:, None].astype(np.float64))
    (early,), (late,) = recordings.split([video])
    gap = float(late.inputs[0, 0] - early.inputs[-1, 0]) / 1e9
    assert guard_s <= gap < guard_s + 0.5
    assert len(early) == pytest.approx(2 * len(late), abs=2)


def test_signals_are_read_as_the_encoder_sees_them(tmp_path: Path) -> None:
    write_imu(tmp_path / "walks" / "a.csv", 12, seed=1)
    write_imu(tmp_path / "walks" / "b.csv", 8, seed=2)
    found = recordings.read([tmp_path], IMU)
    assert [r.name for r in found] == ["a.csv", "b.csv"]
    assert found[0].inputs.shape[1:] == (6, 100)
    assert found[0].inputs[:, 2].mean() == pytest.approx(1, abs=0.1)  # gravity, in multiples of itself
    assert (np.diff(found[0].start_ns) == 1_000_000_000).all()


def test_a_folder_of_pictures_is_one_recording(tmp_path: Path) -> None:
    for place in range(3):
        Image.fromarray(np.full((40, 50), 10 * place, np.uint8)).save(tmp_path / f"{place}.png")
    (found,) = recordings.read([tmp_path], THERMAL)
    assert found.inputs.shape == (3, 1, 224, 224)


def test_prompts_are_lines(tmp_path: Path) -> None:
    pytest.importorskip("instant_clip_tokenizer")
    pytest.importorskip("ftfy")
    (tmp_path / "prompts.txt").write_text("a dog\n\na cat\n")
    text = description("text", WindowSpec(1, 1, 1, ("token",), ("id",)))
    (found,) = recordings.read([tmp_path / "prompts.txt"], text)
    assert found.inputs.shape == (2, 77)
    assert found.inputs.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("absent.csv", "no such recording"),
        ("photo.png", "no imu recording"),
        ("empty", "no imu recording in this folder"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CalibrationError, match=line):
        recordings.read([tmp_path / name], IMU)


def test_a_recording_shorter_than_a_window_is_refused(tmp_path: Path) -> None:
    write_imu(tmp_path / "short.csv", 0.9)
    with pytest.raises(Exception, match=r"short\.csv"):
        recordings.read([tmp_path / "short.csv"], IMU)


def test_paths_go_to_the_modality_they_fit(tmp_path: Path) -> None:
    write_imu(tmp_path / "imu" / "a.csv", 3)
    (tmp_path / "pictures").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "pictures" / "a.png")
    both = [tmp_path / "imu", tmp_path / "pictures"]
    assert finding.fitting(both, "imu") == [tmp_path / "imu"]
    assert finding.fitting(both, "thermal") == [tmp_path / "pictures"]
    assert finding.fitting(both, "audio") == both


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8)).save(path)
    return path


def test_folders_say_whose_pictures_they_hold(tmp_path: Path) -> None:
    for name in ("run/thermal/a.png", "run/Vision/left/a.png", "run/others/a.png"):
        picture(tmp_path / name)
    assert finding.find([tmp_path], "thermal") == [tmp_path / "run" / "others", tmp_path / "run" / "thermal"]
    assert finding.find([tmp_path], "vision") == [tmp_path / "run" / "Vision" / "left", tmp_path / "run" / "others"]
    assert finding.find([tmp_path], "depth") == [tmp_path / "run" / "others"]
    # What the user names is obeyed, whatever it is called ...
    assert finding.fitting([tmp_path / "run" / "thermal"], "depth", ["depth"]) == [tmp_path / "run" / "thermal"]
    # ... unless it was named for several towers.
    with pytest.raises(CalibrationError, match="no depth recording; give a folder called depth"):
        finding.fitting([tmp_path / "run" / "thermal"], "depth", ["depth", "imu"])


def test_pictures_of_nobody_are_refused_where_two_cameras_want_them(tmp_path: Path) -> None:
    picture(tmp_path / "thermal" / "a.png")
    picture(tmp_path / "run" / "vision" / "a.png")
    finding.require_owner([tmp_path], ["thermal", "vision", "imu"])
    nobodys = picture(tmp_path / "run" / "a.png")
    for path in (tmp_path, tmp_path / "run", nobodys):
        with pytest.raises(
            OptionError, match=r"pictures fit several modalities \(wanted a folder called thermal or vision"
        ):
            finding.require_owner([path], ["thermal", "vision", "imu"])
    finding.require_owner([tmp_path], ["thermal", "imu"])  # one camera, and all pictures are its own


def test_an_archive_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "camera.npz", frames=np.zeros((2, 4, 4), np.uint8))
    np.savez(tmp_path / "walk.npz", samples=np.zeros((2, 6), np.float32))
    assert finding.find([tmp_path], "imu") == [tmp_path / "walk.npz"]
    assert finding.find([tmp_path], "thermal") == [tmp_path / "camera.npz"]


def test_a_recording_that_is_named_twice_is_one_recording(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text("x")
    (tmp_path / "link.csv").symlink_to(tmp_path / "walk.csv")
    assert len(finding.find([tmp_path, tmp_path / "walk.csv", tmp_path / "link.csv"], "imu")) == 1


def test_depth_in_millimetres(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(500, 4000, (240, 320)).astype(np.uint16)
    Image.fromarray(counts).save(tmp_path / "x.png")
    (found,) = recordings.read([tmp_path], DEPTH, units.parse("depth=mm"))
    expected = preprocess.build(DEPTH.preprocess)((counts / 1000).astype(np.float32))
    np.testing.assert_allclose(found.inputs[0], expected, rtol=1e-6)
    with pytest.raises(CalibrationError, match=r"x\.png: depth frame has another dtype.*say --units depth=mm"):
        recordings.read([tmp_path], DEPTH)
