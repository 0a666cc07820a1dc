"""Rows that arrive: over a pseudo-terminal, which is a serial line to all who open it, a named pipe and standard input."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgebind import sources, starter
from edgebind.cli import main
from edgebind.errors import OptionError, RecordingError
from edgebind.signals import Chunk
from edgebind.sources.file import open_recording
from edgebind.sources.rows import RowSource, open_rows
from tests.recordings import csv, spec, stamps, still

WINDOW = spec(seconds=0.5)


class Ticking:
    """A clock that is 10 ms later at each look, and it is looked at once a line."""

    def __init__(self, step: int = 10_000_000) -> None:
        self.now, self._step = 0, step

    def monotonic_ns(self) -> int:
        self.now += self._step
        return self.now

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


class SerialLine:
    """A sensor on a serial line."""

    def __init__(self) -> None:
        self.sensor, self._ours = os.openpty()
        self.path = Path(os.ttyname(self._ours))

    def send(self, text: str | bytes) -> None:
        """Send `text` as soon as somebody listens, which is when the line has become raw."""
        data = text.encode() if isinstance(text, str) else text
        threading.Thread(target=self._send, args=(data,), daemon=True).start()

    def _send(self, data: bytes) -> None:
        while termios.tcgetattr(self._ours)[3] & termios.ICANON:
            time.sleep(0.001)
        while data:
            data = data[os.write(self.sensor, data) :]

    def speed(self) -> int:
        modes: int = termios.tcgetattr(self._ours)[4]
        return modes


@pytest.fixture
def line() -> Iterator[SerialLine]:
    made = SerialLine()
    yield made
    os.close(made._ours)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "imu")
    return tmp_path / "imu"


def send(pipe: Path, text: str | bytes) -> None:
    """Write into a named pipe, as another process would."""
    data = text.encode() if isinstance(text, str) else text
    threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True).start()


def joined(chunks: list[Chunk]) -> Chunk:
    return Chunk(np.concatenate([c.times for c in chunks]), np.concatenate([c.samples for c in chunks]), "")


def first(source: RowSource, count: int) -> Chunk:
    """The first `count` samples of a source that may never end."""
    got: list[Chunk] = []
    for chunk in source:
        got.append(chunk)
        if sum(len(one) for one in got) >= count:
            break
    found = joined(got)
    return Chunk(found.times[:count], found.samples[:count], "")


def read(text: str, folder: Path) -> Chunk:
    """What a table of these rows would give."""
    (folder / "walk.csv").write_text(text, encoding="utf-8")
    with open_recording(folder / "walk.csv", "imu", WINDOW) as table:
        return joined(list(table))


# --- what arrives -----------------------------------------------------------------------------------------------------


def test_a_serial_line_gives_what_a_table_would_before_it_ends(line: SerialLine, tmp_path: Path) -> None:
    text = csv(300, samples=still(300))
    wanted = read(text, tmp_path)
    line.send(text.replace("\n", "\r\n"))
    source = RowSource(line.path, WINDOW, speed=termios.B57600, clock=Ticking())
    found = first(source, 290)
    np.testing.assert_array_equal(found.times, wanted.times[:290])
    np.testing.assert_array_equal(found.samples, wanted.samples[:290])
    assert line.speed() == termios.B57600


def test_rows_without_a_stamp_were_taken_when_they_came(pipe: Path) -> None:
    values = still(100)
    send(pipe, csv(100, samples=values, titles=None, times=()))
    found = joined(list(RowSource(pipe, WINDOW, clock=Ticking())))
    np.testing.assert_array_equal(np.diff(found.times), 10_000_000)
    assert abs(int(found.times[0]) - time.time_ns()) < 60e9
    np.testing.assert_allclose(found.samples, values, atol=1e-6)


def test_rows_that_waited_for_us_have_no_time(pipe: Path) -> None:
    values = still(800)
    rows = csv(800, samples=values, titles=None, times=()).splitlines(keepends=True)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, "".join(rows[:200]).encode())
    waiting = int.from_bytes(fcntl.ioctl(writer, termios.FIONREAD, bytes(4)), sys.byteorder)

    def go_on() -> None:
        while int.from_bytes(fcntl.ioctl(writer, termios.FIONREAD, bytes(4)), sys.byteorder) >= waiting:
            time.sleep(0.001)
        os.write(writer, "".join(rows[200:]).encode())
        os.close(writer)

    threading.Thread(target=go_on, daemon=True).start()
    found = joined(list(RowSource(pipe, spec(seconds=2.5), clock=Ticking())))
    np.testing.assert_allclose(found.samples, values[200:], atol=1e-6)


def test_a_rate_stamps_rows_evenly(pipe: Path) -> None:
    send(pipe, csv(100, samples=still(100), titles=None, times=()))
    found = joined(list(RowSource(pipe, WINDOW, rate_hz=200.0, clock=Ticking())))
    np.testing.assert_array_equal(found.times, stamps(100, 200.0))


@pytest.mark.parametrize("piece", [b"1,9.8,0,0,0", b",9.8,0,0,0", b"e-05,9.8,0,0,0", b"\xfe,9.8,0,0,0", b"ready"])
def test_a_line_that_was_joined_in_its_middle_is_left_out(line: SerialLine, piece: bytes) -> None:
    values = still(100)
    line.send(piece + b"\r\n" + csv(100, samples=values, titles=None, times=()).encode())
    found = first(RowSource(line.path, WINDOW, clock=Ticking()), 90)
    np.testing.assert_allclose(found.samples, values[:90], atol=1e-6)


def test_a_sensor_that_is_pulled_out_is_one_line_after_what_came(line: SerialLine) -> None:
    line.send(csv(80, samples=still(80)))
    chunks = iter(RowSource(line.path, WINDOW, clock=Ticking()))
    assert len(next(chunks))
    os.close(line.sensor)
    with pytest.raises(RecordingError, match=f"{line.path}: (the serial line is gone|cannot be read)"):
        list(chunks)


# --- from the command line --------------------------------------------------------------------------------------------


def test_a_sensor_is_recorded_from_standard_input(tmp_path: Path) -> None:
    values = still(3000)
    text = csv(3000, samples=values)
    command = [sys.executable, "-m", "edgebind", "calibrate", "record", "--sensor", "imu", "--source", "rows:-"]
    done = subprocess.run(
        [*command, "--seconds", "20", "--out", tmp_path / "set"], input=text, text=True, capture_output=True, check=True
    )
    (made,) = (tmp_path / "set").glob("*.npz")
    assert f"wrote {made}: 2000 samples, 20.0 s" in done.stdout
    with np.load(made) as recorded:
        np.testing.assert_allclose(recorded["samples"], values[:2000], atol=1e-6)
        np.testing.assert_array_equal(recorded["times"], stamps(2000))


def test_a_pipe_runs_as_its_recording_does(pipe: Path, tmp_path: Path) -> None:
    walk = starter.recordings("demo", "imu")[0]
    text = subprocess.run(["gzip", "-dc", walk], capture_output=True, text=True, check=True).stdout
    send(pipe, text)
    for source in (f"rows:{pipe}", f"file:{walk}"):
        out = tmp_path / f"{source[:4]}.jsonl"
        options = ["--speed", "max", "--no-drift", "--duration", "20", "--sink", f"jsonl:{out}"]
        assert main(["run", "--sensor", "imu", "--source", source, *options]) == 0
    rows, file = (
        [json.loads(text) for text in (tmp_path / name).read_text().splitlines()]
        for name in ("rows.jsonl", "file.jsonl")
    )
    assert len(rows) == len(file) > 10
    for one, other in zip(rows, file, strict=True):
        assert (one["start_ns"], one["labels"]) == (other["start_ns"], pytest.approx(other["labels"], abs=1e-5))


# --- what is refused --------------------------------------------------------------------------------------------------


def test_what_never_arrives_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "walk.csv").write_text(csv(), encoding="utf-8")
    with pytest.raises(OptionError, match=rf"rows do not arrive there.*replay it as file:{tmp_path}/walk.csv"):
        open_rows(f"{tmp_path}/walk.csv", "imu", WINDOW)
    with pytest.raises(RecordingError, match="No such file"):
        open_rows(f"{tmp_path}/tty", "imu", WINDOW)
    with pytest.raises(OptionError, match="rows are of an IMU"):
        open_rows("-", "thermal", WINDOW)


def test_a_speed_that_no_line_has_is_one_line(line: SerialLine) -> None:
    with pytest.raises(OptionError, match=r"no serial line has that speed.*got 12345"):
        open_rows(f"{line.path}@12345", "imu", WINDOW)
    with pytest.raises(OptionError, match=r"no serial line has that speed.*got 0"):  # which hangs up
        open_rows(f"{line.path}@0", "imu", WINDOW)
    with pytest.raises(OptionError, match="only a serial line has a speed"):
        open_rows("-@115200", "imu", WINDOW)


def test_a_row_that_is_cut_off_names_its_line(pipe: Path) -> None:
    send(pipe, csv(100) + "1.0,2.0\n")
    with pytest.raises(RecordingError, match=f"{pipe}, line 102: cut off"):
        list(RowSource(pipe, WINDOW, clock=Ticking()))


def test_a_garbled_row_names_its_line_behind_empty_ones_and_keeps_what_came(pipe: Path) -> None:
    send(pipe, csv(100).encode() + b"\n\n\xff" + csv(1, titles=None).encode())
    got: list[Chunk] = []
    with pytest.raises(RecordingError, match=f"{pipe}, line 104: not a number"):
        got.extend(RowSource(pipe, WINDOW, clock=Ticking()))
    assert len(joined(got).times) > 90


def test_what_is_no_text_is_one_line(pipe: Path) -> None:
    send(pipe, gzip.compress(csv(100).encode()))
    with pytest.raises(RecordingError, match=f"{pipe}: is not text"):
        list(RowSource(pipe, WINDOW))


def test_rows_in_one_burst_are_told_to_need_a_rate(pipe: Path) -> None:
    send(pipe, csv(100, samples=still(100), titles=None, times=()))
    with pytest.raises(RecordingError, match=r"no sensor is that fast.*need --rate HZ"):
        list(RowSource(pipe, WINDOW, clock=Ticking(step=1000)))


def test_a_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(RecordingError, match="standard input: is closed"):
        list(open_rows("-", "imu", WINDOW))


def test_what_came_well_before_a_row_that_is_cut_off_is_kept(pipe: Path) -> None:
    send(pipe, csv(700) + "1.0,2.0\n")
    got: list[Chunk] = []
    with pytest.raises(RecordingError, match=f"{pipe}, line 702: cut off"):
        for chunk in RowSource(pipe, WINDOW):
            got.append(chunk)
    assert sum(len(chunk) for chunk in got) > 700 - 64


def test_rows_are_live() -> None:
    assert not sources.is_recorded("rows:/dev/ttyACM0@115200")
