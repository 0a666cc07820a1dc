from __future__ import annotations

import json
import math
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebind.calibration.windows import collecting, diagnosis, material, sets
from edgebind.calibration.windows.collecting import Opened
from edgebind.errors import CalibrationError, OptionError
from edgebind.manifest import Manifest, WindowSpec
from edgebind.sources import units

SPEC = WindowSpec(50, 2, 1, ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s²",) * 3 + ("rad/s",) * 3)
IMU = Manifest("test", "imu", 8, "fp32", 1.0, SPEC, {"kind": "imu"})
HEADER = "time,ax,ay,az,gx,gy,gz"


def motion(seconds: float, seed: int, strength: float = 1.0) -> np.ndarray:
    """(n, 7): a body that tilts to and fro, with gravity where its gyroscope says."""
    random = np.random.default_rng(seed)
    times = np.arange(0, seconds, 0.01)
    angle = 0.6 * strength * np.sin(2 * np.pi * 0.5 * times + seed)
    rate = np.gradient(angle, times)
    samples = np.zeros((len(times), 6))
    samples[:, 1], samples[:, 2] = 9.81 * np.sin(angle), 9.81 * np.cos(angle)
    samples[:, 3] = rate
    samples += random.normal(size=samples.shape) * [0.3, 0.3, 0.3, 0.05, 0.05, 0.05] * strength
    return np.column_stack([times, samples])


def write(path: Path, table: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, table, delimiter=",", header=HEADER, comments="", fmt="%.6f")
    return path


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    for place in range(6):
        write(tmp_path / "walks" / f"{place}.csv", motion(40, place, strength=1 + place / 3))
    return tmp_path / "walks"


def collect(folder: Path, windows: int = sets.WINDOWS, seed: int = 0) -> Opened:
    return collecting.collect([folder], "imu", SPEC, home=folder, windows=windows, seed=seed)


def lines(opened: Opened, severity: str = "error") -> list[str]:
    return [f"{found.where} {found.line}" for found in opened.findings if found.severity == severity]


def test_every_third_recording_judges_and_nothing_is_wrong_with_good_ones(walks: Path) -> None:
    made = collect(walks)
    assert {member.path: member.role for member in made.set.recordings} == {
        f"{place}.csv": "gate" if place in (2, 5) else "calibrate" for place in range(6)
    }
    assert lines(made) == []
    assert all(member.windows == 39 for member in made.set.recordings)


def test_a_set_survives_its_file_and_the_file_a_move(walks: Path, tmp_path: Path) -> None:
    made = collect(walks, windows=50, seed=3)
    sets.write(made.set, walks / sets.FILE)
    assert sets.read(walks) == made.set
    moved = shutil.copytree(walks, tmp_path / "elsewhere" / "walks")
    again = collecting.open_set(moved)
    assert again.set.digest == made.set.digest
    for own, other in zip(collecting.drawn(made), collecting.drawn(again), strict=True):
        assert own.tolist() == other.tolist()


def test_windows_are_drawn_from_what_calibrates(walks: Path) -> None:
    drawn = collecting.drawn(collect(walks, windows=50, seed=3))
    assert sum(map(len, drawn)) == 50
    assert [len(own) for own in drawn][2::3] == [0, 0]
    assert all((own < 39).all() for own in drawn)
    assert sum(map(len, collecting.drawn(collect(walks, windows=0)))) == 4 * 39


def test_a_single_recording_is_cut_in_time(tmp_path: Path) -> None:
    (looked,) = collect(write(tmp_path / "walk.csv", motion(100, 0)).parent).looked
    calibrates, judges = np.flatnonzero(looked.calibrates), np.flatnonzero(looked.judges)
    assert looked.scan.stop_ns[calibrates[-1]] + 9e9 <= looked.scan.start_ns[judges[0]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "not a calibration set"),
        ("[]", "not a calibration set"),
        ("{}", "format None"),
        ('{"format": "other/1"}', "format 'other/1'"),
    ],
)
def test_a_damaged_set_is_refused(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / sets.FILE).write_text(text)
    with pytest.raises(CalibrationError, match=line):
        sets.read(tmp_path)


def test_a_role_that_does_not_exist_is_refused(walks: Path) -> None:
    data = json.loads(collect(walks).set.to_json())
    data["recordings"][0]["role"] = "both sides"
    (walks / sets.FILE).write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match=r"role 'both sides' of 0\.csv"):
        sets.read(walks)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("windows", -1),
        ("windows", math.inf),
        ("seed", -1),
        ("edges", [[2, 1], [0]]),
        ("edges", [[1], [0]]),
        ("edges", [[]]),
        ("aspects", ["smell", "rotation"]),
        ("windows", "many"),
    ],
)
def test_a_drawing_that_cannot_be_is_refused(walks: Path, key: str, value: object) -> None:
    data = json.loads(collect(walks).set.to_json())
    data["draw"][key] = value
    (walks / sets.FILE).write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match="not a calibration set"):
        sets.read(walks)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window", {"rate_hz": 0, "seconds": 2, "hop_seconds": 1, "channels": ["ax"], "units": ["m/s²"]}),
        ("window", {"rate_hz": 50}),
        ("units", {"acc": "furlong"}),
        ("recordings", [{"path": "0.csv"}]),
        ("recordings", []),
        ("recordings", {"0.csv": "calibrate"}),
        ("modality", "smell"),
        ("draw", None),
    ],
)
def test_a_set_that_cannot_be_is_refused(walks: Path, key: str, value: object) -> None:
    data = json.loads(collect(walks).set.to_json()) | {key: value}
    (walks / sets.FILE).write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match="not a calibration set"):
        sets.read(walks)


def test_pictures_may_be_grey_and_coloured(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for place in range(60):
        colours = (3,) if place % 2 else ()
        picture = random.integers(0, 200, (24, 32, *colours), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{place}.png")
    assert lines(collecting.collect([tmp_path], "vision", sets.default_window("vision"), home=tmp_path)) == []


def test_a_recording_that_changed_or_went_is_named(walks: Path) -> None:
    sets.write(collect(walks).set, walks / sets.FILE)
    write(walks / "1.csv", motion(40, 77))
    with pytest.raises(CalibrationError, match=r"1\.csv: a recording of the set has changed"):
        collecting.open_set(walks)
    (walks / "1.csv").unlink()
    with pytest.raises(CalibrationError, match=r"1\.csv: a recording of the set is gone"):
        collecting.open_set(walks)


def test_rotation_in_degrees_is_seen_by_how_gravity_turns(walks: Path) -> None:
    table = motion(40, 1)
    table[:, 4:] *= 180 / np.pi / 2  # so little that the reader lets it pass
    write(walks / "1.csv", table)
    (line,) = lines(collect(walks))
    assert line.startswith("1.csv turns ")
    assert line.endswith("say --units gyro=deg/s")


def test_an_accelerometer_that_stands_still_says_nothing_about_the_gyroscope(walks: Path) -> None:
    table = motion(40, 1)
    table[:, 1:4] = 0.1, 0.2, 9.8
    write(walks / "1.csv", table)
    (line,) = (line for line in lines(collect(walks)) if line.startswith("1.csv"))
    assert "channels ax, ay, az never move" in line


def test_acceleration_in_g_is_one_line_and_the_others_are_still_looked_at(walks: Path) -> None:
    table = motion(40, 1)
    table[:, 1:4] /= 9.81
    write(walks / "1.csv", table)
    made = collect(walks)
    (line,) = lines(made)
    assert "in g? then say --units acc=g" in line
    assert len(made.looked[2].scan) == 39


def test_a_dead_channel_is_named(walks: Path) -> None:
    table = motion(40, 1)
    table[:, 6] = 0
    write(walks / "1.csv", table)
    assert lines(collect(walks)) == ["1.csv channel gz never moves: is the sensor connected?"]


def test_a_channel_that_fails_halfway_is_told(walks: Path) -> None:
    table = motion(40, 1)
    table[len(table) // 2 :, 6] = 0
    write(walks / "1.csv", table)
    assert lines(collect(walks)) == []
    told = "1.csv channel gz stands still in 46% of its windows: a loose contact?"  # 18 of 39 begin behind the break
    assert told in lines(collect(walks), "warning")


def test_a_sensor_at_rest_is_blank_and_not_loose(walks: Path) -> None:
    table = motion(40, 1)
    table[len(table) // 2 :, 1:] = 0, 0, 9.81, 0, 0, 0
    write(walks / "1.csv", table)
    found = lines(collect(walks), "warning")
    assert "1.csv 44% of its windows are blank" in found
    assert not any("loose" in line for line in found)


def test_one_recording_twice_is_an_error(walks: Path) -> None:
    shutil.copy(walks / "0.csv", walks / "2.csv")
    found = lines(collect(walks))
    assert "2.csv is the same recording as 0.csv" in found
    assert "2.csv 100% of its windows, which judge, also calibrate" in found


def test_a_sensor_at_its_limit_is_told(walks: Path) -> None:
    table = motion(40, 1, strength=3)
    table[:, 3] = np.minimum(3 * table[:, 3], 19.6133)
    write(walks / "1.csv", table)
    found = lines(collect(walks)) + lines(collect(walks), "warning")
    assert any("1.csv" in line and "touch the sensor's limit" in line for line in found)


def test_from_where_to_where_each_channel_reaches(walks: Path) -> None:
    tables = [np.loadtxt(walks / f"{place}.csv", delimiter=",", skiprows=1)[:, 1:] for place in range(6)]
    for span, channel in zip(diagnosis.spans(collect(walks).looked, "imu", SPEC), range(6), strict=True):
        assert span.channel == SPEC.channels[channel]
        for pair, places in ((span.calibrated, (0, 1, 3, 4)), (span.judged, (2, 5))):
            assert pair is not None
            # The grid of the windows is not the sensor's, and peaks lie between.
            values = np.concatenate([tables[place][:, channel] for place in places])
            assert pair == pytest.approx((values.min(), values.max()), abs=0.35 * (values.max() - values.min()))
            assert values.min() - 0.1 <= pair[0] < pair[1] <= values.max() + 0.1


def test_pictures_of_few_grey_levels_are_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for place in range(60):
        Image.fromarray(random.integers(100, 130, (24, 32), dtype=np.uint8)).save(tmp_path / f"{place}.png")
    made = collecting.collect([tmp_path], "thermal", sets.default_window("thermal"), home=tmp_path)
    assert any("pictures use 30 of 256 grey levels" in line for line in lines(made, "warning"))


def test_what_judges_must_not_reach_beyond_what_calibrates(walks: Path) -> None:
    table = motion(40, 2, strength=1)
    table[1000:1100, 4] += 30
    write(walks / "2.csv", table)
    assert any("2.csv gx reaches from" in line for line in lines(collect(walks), "warning"))


def test_too_little_is_an_error(tmp_path: Path) -> None:
    found = lines(collect(write(tmp_path / "walk.csv", motion(6, 0)).parent))
    assert any("windows to calibrate on, at least 16 are needed" in line for line in found)
    assert any("windows to judge on, at least 8 are needed" in line for line in found)


def test_few_windows_are_told_on_either_side(walks: Path) -> None:
    found = lines(collect(walks), "warning")
    assert any("only 78 windows to judge on: one whose label changes costs 1.3%" in line for line in found)
    assert not any("to calibrate on" in line for line in found)  # 156


def test_one_kind_of_windows_only_is_told(walks: Path) -> None:
    busy = motion(40, 9, strength=1)
    busy[:, 1:] *= np.where((busy[:, :1] > 20) & (busy[:, :1] < 22), 3, 1)
    for place in range(6):
        table = motion(40, place, strength=1)
        write(walks / f"{place}.csv", table if place else busy)
    assert any("record other conditions too" in line for line in lines(collect(walks), "warning"))


@pytest.mark.parametrize(
    ("modality", "value", "unit"), [("thermal", 30_000, "cK"), ("thermal", 2_950, "dK"), ("depth", 1_500, "mm")]
)
def test_frames_in_other_units_are_an_error(tmp_path: Path, modality: str, value: int, unit: str) -> None:
    random = np.random.default_rng(0)
    for place in range(60):
        frame = random.normal(value, value / 50, (24, 32)).astype(np.uint16)
        Image.fromarray(frame).save(tmp_path / f"{place}.png")
    spec = sets.default_window(modality)
    found = lines(collecting.collect([tmp_path], modality, spec, home=tmp_path))
    assert any(f"look like {unit}: say --units {modality}={unit}" in line for line in found)
    right = collecting.collect([tmp_path], modality, spec, home=tmp_path, said=units.parse(f"{modality}={unit}"))
    assert lines(right) == []
    assert right.set.units == {modality: unit}


def test_silence_is_blank_and_no_repetition(tmp_path: Path) -> None:
    sound = np.zeros(16_000 * 20, np.int16)
    sound[: 16_000 * 12] = np.random.default_rng(0).integers(-9000, 9000, 16_000 * 12)
    for place in range(3):
        with wave.open(str(tmp_path / f"{place}.wav"), "wb") as stream:
            stream.setnchannels(1)
            stream.setsampwidth(2)
            stream.setframerate(16_000)
            stream.writeframes(np.roll(sound, 1000 * place).tobytes())
    made = sets.default_window("audio")
    found = collecting.collect([tmp_path], "audio", made, home=tmp_path)
    assert [line[:5] for line in lines(found, "warning") if "of its windows are blank" in line] == [
        f"{place}.wav" for place in range(3)
    ]
    assert not any("twice" in line or "also calibrate" in line for line in lines(found) + lines(found, "warning"))


def test_a_frozen_camera_is_an_error(tmp_path: Path) -> None:
    for place in range(60):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / f"{place}.png")
    spec = sets.default_window("thermal")
    assert any(
        "are there twice" in line for line in lines(collecting.collect([tmp_path], "thermal", spec, home=tmp_path))
    )


def test_material_of_a_set_is_what_it_draws(walks: Path) -> None:
    made = collect(walks, windows=50, seed=3)
    sets.write(made.set, walks / sets.FILE)
    found = material.of_recordings([walks], IMU)
    assert found.observed is not None
    streamed = list(found.observed)
    assert len(streamed) == 50
    assert sum(map(len, found.calibration)) == 50
    assert {batch.recording for batch in found.held_out} == {"2.csv", "5.csv"}
    facts = found.facts["calibration_set"]
    assert facts["sha256"] == made.set.digest
    assert facts["recordings"] == {b.recording: len(b) for b in found.calibration}
    assert sum(kind["drawn"] for kind in facts["strata"].values()) == 50
    everything = material.of_recordings([walks], IMU, every_window=True)
    assert everything.observed is not None
    assert sum(1 for _ in everything.observed) == 4 * 39


def test_a_set_with_errors_calibrates_nothing(walks: Path) -> None:
    shutil.copy(walks / "0.csv", walks / "1.csv")
    sets.write(collect(walks).set, walks / sets.FILE)
    with pytest.raises(
        CalibrationError, match=r"1 error in this calibration set: 1\.csv is the same recording as 0\.csv"
    ):
        material.of_recordings([walks], IMU)


def test_sets_stand_alone_and_fit_the_tower(walks: Path) -> None:
    made = collect(walks)
    sets.write(made.set, walks / sets.FILE)
    with pytest.raises(OptionError, match="recordings beside a calibration set"):
        material.sets_among([walks, walks / "0.csv"])
    with pytest.raises(CalibrationError, match="no calibration sets of thermal"):
        material.of_recordings([walks], replace(IMU, modality="thermal"))
