"""Tables: spellings, units, times; and each way in which one can be wrong, with its line."""

from __future__ import annotations

import gzip
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import EdgebindError, OptionError, RecordingError
from edgebind.signals import Chunk
from edgebind.sources import table, units
from edgebind.sources.file import open_recording
from edgebind.sources.table import TableSource
from tests.recordings import TITLES, csv, read_borealtc, read_spsw, spec, stamps, still

G = 9.80665


def write(folder: Path, text: str, name: str = "walk.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, said: str = "", rate: float | None = None) -> Chunk:
    source = open_recording(path, "imu", spec(), rate_hz=rate, units=units.parse(said) if said else None)
    with source:
        chunks = list(source)
    return Chunk(np.concatenate([c.times for c in chunks]), np.concatenate([c.samples for c in chunks]), source.name)


def titled(titles: str, samples: np.ndarray | None = None, times: list[object] | None = None) -> str:
    return csv(titles=titles, samples=still(400) if samples is None else samples, times=times)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_phone_recordings(shared: Path) -> None:
    path = next(iter(sorted((shared / "data" / "imu_spsw").glob("*/*_sp.csv.gz"))))
    times, samples = read_spsw(path)
    found = read(path)
    np.testing.assert_array_equal(found.times, times)
    np.testing.assert_allclose(found.samples, samples, rtol=1e-6)


def test_robot_recordings(shared: Path) -> None:
    path = shared / "data" / "imu_borealtc" / "ICE" / "imu_00.csv.gz"
    times, samples = read_borealtc(path)
    found = read(path)
    np.testing.assert_array_equal(found.times, times)
    np.testing.assert_allclose(found.samples, samples, rtol=1e-6)


def test_a_rocket_in_g_and_degrees(shared: Path) -> None:
    found = read(shared / "data" / "imu_rocket" / "jackpot_launch_1.csv.gz")
    assert len(found) == 6616
    assert found.times[0] == 129_012_131_940
    np.testing.assert_allclose(found.samples[0, :3], np.array([-0.66646940, -0.66328019, 0.32960817]) * G, rtol=1e-6)
    np.testing.assert_allclose(found.samples[0, 3], np.deg2rad(-0.07043618), rtol=1e-6)


@pytest.mark.parametrize(
    "titles",
    [
        "time,ax,ay,az,gx,gy,gz",
        "t,accX,accY,accZ,gyroX,gyroY,gyroZ",
        "timestamp,acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z",
        "time_s,accel_x_mps2,accel_y_mps2,accel_z_mps2,gyro_x_radps,gyro_y_radps,gyro_z_radps",
        "time [s],ax [m/s^2],ay [m/s^2],az [m/s^2],wx [rad/s],wy [rad/s],wz [rad/s]",
        "stamp,linear_acceleration.x,linear_acceleration.y,linear_acceleration.z,"
        "angular_velocity.x,angular_velocity.y,angular_velocity.z",
        '"time","x_acc","y_acc","z_acc","x_gyro","y_gyro","z_gyro"',
        "timestamp,accelerometer_m_s2[0],accelerometer_m_s2[1],accelerometer_m_s2[2],gyro_rad[0],gyro_rad[1],gyro_rad[2]",
        "timestamp (s),Accelerometer X (m/s²),Accelerometer Y (m/s²),Accelerometer Z (m/s²),"
        "Gyroscope X (rad/s),Gyroscope Y (rad/s),Gyroscope Z (rad/s)",
    ],
)
def test_spellings(tmp_path: Path, titles: str) -> None:
    found = read(write(tmp_path, titled(titles)))
    np.testing.assert_array_equal(found.times, stamps(400))
    np.testing.assert_allclose(found.samples, still(400), atol=1e-5)


@pytest.mark.parametrize(
    ("titles", "scale"),
    [
        ("t,acc_x_g,acc_y_g,acc_z_g,gyro_x_dps,gyro_y_dps,gyro_z_dps", (G, np.pi / 180)),
        ("t,ax (g),ay (g),az (g),gx (deg/s),gy (deg/s),gz (deg/s)", (G, np.pi / 180)),
        ("t,acc_x_mg,acc_y_mg,acc_z_mg,gyro_x_mdps,gyro_y_mdps,gyro_z_mdps", (G / 1e3, np.pi / 180e3)),
    ],
)
def test_units_of_the_titles(tmp_path: Path, titles: str, scale: tuple[float, float]) -> None:
    samples = still(400) / np.repeat(scale, 3)
    np.testing.assert_allclose(read(write(tmp_path, titled(titles, samples))).samples, still(400), atol=1e-4)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    assert len(read(write(tmp_path, csv().replace(",", delimiter)))) == 400


def test_a_gzipped_table_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_bytes(gzip.compress(csv().encode()))
    assert len(read(path)) == 400


def test_empty_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    text = csv().replace("\n", "\n\n")
    path = tmp_path / "walk.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(read(path)) == 400


def test_a_table_may_begin_with_more_empty_lines_than_are_read_at_once(tmp_path: Path) -> None:
    title, _, rows = csv().partition("\n")
    np.testing.assert_array_equal(read(write(tmp_path, title + "\n" * (table.BLOCK + 10) + rows)).times, stamps(400))


def test_long_tables_are_read_in_blocks(tmp_path: Path) -> None:
    found = read(write(tmp_path, csv(20_000)))
    np.testing.assert_array_equal(found.times, stamps(20_000))


def test_chunks_are_those_of_a_live_sensor(tmp_path: Path) -> None:
    chunks = list(open_recording(write(tmp_path, csv()), "imu", spec()))
    assert {len(chunk) for chunk in chunks} == {2}


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "scale", "start"),
    [
        ("timestamp_seconds", 1.0, 0.0),
        ("t_ms", 1e3, 5.0),
        ("timestamp_us", 1e6, 5.0),
        ("stamp_ns", 1e9, 5.0),
        ("timestamp", 1.0, 1_657_544_371.0),
        ("timestamp", 1e3, 1_657_544_371.0),
        ("timestamp", 1e6, 1_657_544_371.0),
        ("timestamp", 1e9, 1_657_544_371.0),
    ],
)
def test_units_of_time(tmp_path: Path, title: str, scale: float, start: float) -> None:
    times: list[object] = [f"{round(start * scale) + index * 0.01 * scale:.6f}" for index in range(400)]
    if scale == 1e9:
        times = [round(start * scale) + index * 10_000_000 for index in range(400)]
    found = read(write(tmp_path, titled(f"{title},ax,ay,az,gx,gy,gz", times=times)))
    np.testing.assert_allclose(found.times - round(start * 1e9), stamps(400), atol=500)


def test_nanoseconds_of_today_are_exact(tmp_path: Path) -> None:
    times: list[object] = [1_771_692_777_698_352_601 + index * 10_000_001 for index in range(400)]
    found = read(write(tmp_path, titled("stamp_ns,ax,ay,az,gx,gy,gz", times=times)))
    assert found.times.tolist() == times


def test_what_the_user_says_is_obeyed(tmp_path: Path) -> None:
    samples = still(400) / np.repeat((G, np.pi / 180), 3)
    path = write(tmp_path, titled("time,ax,ay,az,gx,gy,gz", samples, [10 * index for index in range(400)]))
    found = read(path, "acc=g, gyro=deg/s, time=ms")
    np.testing.assert_array_equal(found.times, stamps(400))
    np.testing.assert_allclose(found.samples, still(400), atol=1e-4)


def test_a_table_without_times_needs_a_rate(tmp_path: Path) -> None:
    path = write(tmp_path, csv(titles="ax,ay,az,gx,gy,gz", times=()))
    np.testing.assert_array_equal(read(path, rate=50.0).times, stamps(400, 50.0))
    with pytest.raises(RecordingError, match=r"no column of time.*--rate HZ"):
        read(path)


def test_a_table_without_titles_is_the_bundles_channels(tmp_path: Path) -> None:
    path = write(tmp_path, csv(titles=None, times=()))
    assert len(read(path, rate=100.0)) == 400
    with pytest.raises(RecordingError, match=r"no line of column titles.*7 columns"):
        read(write(tmp_path, csv(titles=None)), rate=100.0)


def test_a_rate_that_the_times_contradict_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, csv())
    np.testing.assert_array_equal(read(path, rate=101.0).times, stamps(400, 101.0))
    with pytest.raises(OptionError, match=r"--rate contradicts.*wanted about 100 Hz, got 50 Hz"):
        read(path, rate=50.0)


# --- what is refused --------------------------------------------------------------------------------------------------


def replaced(line: int, column: int, value: str) -> str:
    """The table with one cell changed; lines count from 1."""
    lines = csv().splitlines()
    cells = lines[line - 1].split(",")
    cells[column] = value
    lines[line - 1] = ",".join(cells)
    return "\n".join(lines) + "\n"


BAD = {
    "empty": ("", "no samples.*an empty file"),
    "titles only": (csv().splitlines()[0] + "\n", "no samples.*0 rows"),
    "missing columns": (
        titled("time,ax,ay,oz,gx,gy,gz"),
        "columns of ax, ay, az are missing.*got time, ax, ay, oz, gx",
    ),
    "no gyroscope": (titled("time,ax,ay,az,p,q,r"), "columns of gx, gy, gz are missing"),
    "NaN": (replaced(57, 2, "nan"), "line 57: not a number.*nan in column acc_y"),
    "infinity": (replaced(57, 4, "inf"), "line 57: not a number.*inf in column gyro_x"),
    "NaN time": (replaced(57, 0, "nan"), "line 57: not a number.*nan in column time_s"),
    "text": (replaced(57, 2, "abc"), "line 57: not a number.*'abc' in column acc_y"),
    "empty cell": (replaced(57, 2, ""), "line 57: not a number.*'' in column acc_y"),
    "too large for a float": (replaced(57, 2, "1e300"), "line 57: not a number.*inf in ay"),
    "cut-off row": (csv()[:-40], "line 401: cut off.*wanted 7 columns, got 3"),
    "time backwards": (replaced(57, 0, "0.3"), "line 57: time goes backwards"),
    "too short": (csv(200), "shorter than one window.*wanted 3 s, got 2 s"),
    "one row": (csv(1), "shorter than one window"),
    "too slow": (csv(400, 25.0), "sampled too slowly.*at least 40 Hz.*got 25 Hz"),
    "too fast": (csv(40_000, 60_000.0), "no sensor is that fast"),
    "one time": (csv(times=["1.0"] * 400), "no sensor is that fast.*the same time in every row"),
    "milliseconds as s": (csv(times=list(range(0, 4000, 10))), "sampled too slowly.*--units time=ms"),
    "g as m/s²": (csv(samples=still(400) / np.repeat((G, 1), 3)), "acceleration out of physical range.*acc=g"),
    "mg as m/s²": (csv(samples=still(400) * np.repeat((102, 1), 3)), "acceleration out of physical range.*acc=mg"),
    "m/s² as g": (titled("t,ax_g,ay_g,az_g,gx,gy,gz"), "acceleration out of physical range.*acc=m/s2"),
    "deg/s as rad/s": (replaced(57, 4, "95"), "line 57: out of physical range.*95 rad/s.*gyro=deg/s"),
    "beyond any planet": (titled(TITLES, samples=still(400) * 1e30), "acceleration out of physical range.*e[+]30 m/s²"),
    "a time too large": (
        replaced(57, 0, "1e30"),
        "line 57: no time of a recording.*146 years.*1e[+]30 s.*--units time=",
    ),
    "a time beyond floats in ns": (replaced(57, 0, "1e300"), "line 57: no time of a recording"),
    "nothing but empty lines": (csv().splitlines()[0] + "\n" * 9000, "no samples.*0 rows"),
    "beyond 200 g": (replaced(57, 2, "-2500"), "line 57: out of physical range.*2500 m/s²"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_get_one_line(tmp_path: Path, case: str) -> None:
    text, expected = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(EdgebindError) as caught:
        read(path)
    assert re.search(expected, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_fault_far_down_has_the_right_line(tmp_path: Path) -> None:
    lines = csv(20_000).splitlines()
    lines[15_000] = lines[15_000].replace(",", ",x", 1)
    lines.insert(100, "")
    with pytest.raises(RecordingError, match="line 15002: not a number"):
        read(write(tmp_path, "\n".join(lines)))


def test_what_came_before_a_fault_is_handed_on(tmp_path: Path) -> None:
    lines = csv(20_000).splitlines()
    lines[15_000] = lines[15_000].replace(",", ",x", 1)
    source = TableSource(write(tmp_path, "\n".join(lines)), spec())
    seen = 0
    with pytest.raises(RecordingError):
        for chunk in source:
            seen += len(chunk)
    assert seen == 8192


def test_half_the_bundles_rate_is_enough(tmp_path: Path) -> None:
    assert len(read(write(tmp_path, csv(400, 50.0)))) == 400


def test_fifteen_g_are_fine(tmp_path: Path) -> None:
    samples = still(400)
    samples[100:300, 2] = 147.0
    assert len(read(write(tmp_path, csv(samples=samples)))) == 400


def test_a_user_who_says_m_per_s2_may_be_weightless(tmp_path: Path) -> None:
    path = write(tmp_path, csv(samples=still(400) - np.array([0, 0, 9.81, 0, 0, 0])))
    assert len(read(path, "acc=m/s2")) == 400
    with pytest.raises(RecordingError, match="acceleration out of physical range"):
        read(path)


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08\x00rubbish", gzip.compress(csv().encode())[:-100]])
def test_damaged_gzip(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "walk.csv.gz"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="gzip file is damaged or cut off"):
        read(path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(RecordingError, match="is not text"):
        read(path)


@pytest.mark.parametrize("line", [1, 3])
def test_a_line_without_end_is_not_unpacked_whole(tmp_path: Path, line: int) -> None:
    path = tmp_path / "walk.csv.gz"
    with gzip.open(path, "wt", compresslevel=1) as stream:
        stream.writelines(csv().splitlines(keepends=True)[: line - 1])
        stream.writelines("1," * (1 << 19) for _ in range(64))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match=rf"walk\.csv\.gz, line {line}: the line has no end"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6  # of 67 MB
    finally:
        tracemalloc.stop()


def test_long_lines_are_read_a_few_at_a_time() -> None:
    sizes = [len(lines) for lines in table.blocks("x" * (1 << 20) for _ in range(40))]
    assert sizes == [16, 16, 8]


@pytest.mark.parametrize("text", ["acc", "acc=furlong", "mag=g", "acc=g,acc=g", "acc="])
def test_units_that_are_not_understood(text: str) -> None:
    with pytest.raises(OptionError, match="unit"):
        units.parse(text)
