"""`edgebind run` as people and pipes meet it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import wavfile

from edgebind import cli, starter
from edgebind.errors import EdgebindError
from edgebind.labels import LabelBank
from tests import bundles as tiny
from tests.recordings import csv, read_borealtc

COMMAND = (sys.executable, "-m", "edgebind", "run")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "bundles" / "imu-int8")


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    path = tmp_path / "walk.csv"
    path.write_text(csv(1000))
    return path


def run(*arguments: object) -> tuple[list[dict[str, Any]], str]:
    """Records on standard output, and standard error."""
    result = CliRunner().invoke(cli.group, ["run", *map(str, arguments)])
    if isinstance(result.exception, EdgebindError):
        raise result.exception
    assert result.exception is None, result.output
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def test_json_lines_in_a_pipe(folder: Path, walk: Path) -> None:
    records, told = run("--bundle", folder, "--source", f"file:{walk}", "--speed", "max")
    assert [r["start_ns"] // 500_000_000 for r in records] == list(range(19))
    assert all(len(r["embedding"]) == tiny.DIM and list(r["labels"]) == ["a", "b"] for r in records)
    assert told == ""


def test_sinks_take_the_place_of_standard_output(folder: Path, walk: Path, tmp_path: Path) -> None:
    sinks = [f"jsonl:{tmp_path / name}" for name in ("a.jsonl", "b.jsonl")]
    told = run(
        *("--sensor", "imu", "--bundle", folder, "--source", f"file:{walk}", "--speed", "max", "--no-embedding"),
        *("--sink", sinks[0], "--sink", sinks[1]),
    )
    assert told == ([], "")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert len(lines) == 19 == len((tmp_path / "b.jsonl").read_text().splitlines())
    assert "embedding" not in json.loads(lines[0])


def test_prompts_of_the_user(folder: Path, walk: Path, tmp_path: Path) -> None:
    bank = LabelBank(("running",), np.eye(1, tiny.DIM, dtype=np.float32))
    bank.to_npz(tmp_path / "labels.npz")
    records, _ = run(
        "--bundle", folder, "--source", f"file:{walk}", "--speed", "max", "--labels", tmp_path / "labels.npz"
    )
    assert records[0]["labels"] == {"running": 1.0}


def test_prompts_of_another_space(folder: Path, walk: Path, tmp_path: Path) -> None:
    LabelBank(("a",), np.eye(1, tiny.DIM, dtype=np.float32), "imagebind").to_npz(tmp_path / "labels.npz")
    with pytest.raises(EdgebindError, match="label bank of another space"):
        run("--bundle", folder, "--source", f"file:{walk}", "--speed", "max", "--labels", tmp_path / "labels.npz")


def test_a_sound(tmp_path: Path) -> None:
    folder, path = tiny.write_listener(tmp_path / "audio"), tmp_path / "noise.wav"
    wavfile.write(path, 8000, np.random.default_rng(0).normal(0, 0.1, 8000 * 5).astype(np.float32))
    records, _ = run("--sensor", "audio", "--bundle", folder, "--source", f"file:{path}", "--speed", "max")
    assert [r["start_ns"] // 1_000_000_000 for r in records] == [0, 1, 2, 3]
    assert {r["sensor"] for r in records} == {"audio"}


def test_duration(folder: Path, walk: Path) -> None:
    records, _ = run("--bundle", folder, "--source", f"file:{walk}", "--speed", "max", "--duration", "2")
    assert len(records) == 3


def test_units_and_rate_reach_the_recording(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text(csv(titles="ax,ay,az,gx,gy,gz", times=()))
    arguments = ("--bundle", folder, "--source", f"file:{path}", "--speed", "max")
    assert len(run(*arguments, "--rate", "100", "--units", "acc=m/s2")[0]) == 7
    with pytest.raises(EdgebindError, match="--rate HZ"):
        run(*arguments)


def test_without_a_source_the_shipped_recording_is_replayed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = tmp_path / "recordings" / "demo" / "imu"
    demo.mkdir(parents=True)
    (demo / "walk.csv").write_text(csv())
    monkeypatch.setattr(starter, "RECORDINGS", tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)  # ./bundles/imu-int8 is found here
    records, told = run("--sensor", "imu", "--speed", "max")
    assert len(records) == 7
    assert told.count("\n") == 1
    assert "replaying" in told and "walk.csv at full speed" in told


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--sensor", "smell"), "unknown modality"),
        (("--sensor", "audio"), "edgebind brings no bundle of audio"),
        (("--bundle", "{folder}", "--sensor", "thermal"), "--sensor and --bundle differ.*wanted thermal, got imu"),
        (("--bundle", "{folder}", "--source", "walk.csv"), "unknown source"),
        (("--bundle", "{folder}", "--source", "file:absent.csv"), "absent.csv: no such recording"),
        (("--bundle", "{folder}", "--source", "file:{walk}", "--speed", "fast"), "--speed does not fit"),
        (("--bundle", "{folder}", "--source", "file:{walk}", "--sink", "paper"), "unknown sink"),
        (("--bundle", "{folder}", "--source", "file:{walk}", "--units", "acc=furlong"), "unknown unit"),
        (("--bundle", "{folder}", "--source", "file:{walk}", "--labels", "absent.npz"), "no such label bank"),
        (("--bundle", "{folder}", "--source", "file:{walk}", "--backend", "abacus"), "unknown backend"),
        (("--bundle", "absent"), "no bundle here"),
    ],
)
def test_options_that_do_not_fit(folder: Path, walk: Path, arguments: tuple[str, ...], expected: str) -> None:
    with pytest.raises(EdgebindError, match=expected):
        run(*(text.format(folder=folder, walk=walk) for text in arguments))


# --- real processes ---------------------------------------------------------------------------------------------------


def test_a_fault_is_one_line_and_keeps_what_came_before(folder: Path, tmp_path: Path) -> None:
    lines = csv(20_000).splitlines()
    lines[15_000] = lines[15_000].replace(",", ",x", 1)
    path = tmp_path / "faulty.csv"
    path.write_text("\n".join(lines))
    arguments = ["--bundle", str(folder), "--source", f"file:{path}", "--speed", "max"]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{path}, line 15001: not a number" in done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) > 100


def test_a_reader_that_goes_away_is_no_error(folder: Path, walk: Path) -> None:
    line = f"{' '.join(COMMAND)} --bundle {folder} --source file:{walk} --speed max | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["start_ns"] == 0


@contextmanager
def started(*arguments: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*COMMAND, *arguments], text=True, **streams)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_ctrl_c_leaves_whole_lines(folder: Path, walk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ["--bundle", str(folder), "--source", f"file:{walk}", "--sink", "stdout", "--sink", f"jsonl:{out}"]
    with started(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline() + process.stdout.readline()  # in real time: half a second lies between
        process.send_signal(signal.SIGINT)
        rest, told = process.stdout.read(), process.stderr.read()
        assert process.wait() == 130
    written = out.read_text()
    lines = (first + rest).splitlines(keepends=True)
    assert written.endswith("\n") and written.splitlines(keepends=True) in (lines, lines[:-1])  # stdout comes first
    assert all(json.loads(line) for line in written.splitlines())
    assert re.search(r"^edgebind: \d+ windows? embedded$", told, re.MULTILINE) and "interrupted" in told


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_service_that_is_stopped_leaves_whole_lines(
    folder: Path, walk: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ["--bundle", str(folder), "--source", f"file:{walk}", "--sink", "stdout", "--sink", f"jsonl:{out}"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # Under nohup SIGHUP is ignored, by us as well, and so it would be here if the tests run under it.
    with started(*arguments, **pipes, preexec_fn=lambda: signal.signal(ending, signal.SIG_DFL)) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.readline()  # the first one is in the file by now: stdout comes first
        process.send_signal(ending)
        process.communicate()
        assert process.returncode == 128 + ending
    assert out.read_text().endswith("\n")
    assert all(json.loads(line) for line in out.read_text().splitlines())


def test_a_terminal_gets_a_live_line(folder: Path, walk: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    arguments = ["--bundle", str(folder), "--source", f"file:{walk}", "--speed", "max"]
    with started(*arguments, stdout=theirs, stderr=subprocess.DEVNULL, stdin=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while piece := _piece(ours):
            shown += piece
        assert process.wait() == 0
    os.close(ours)
    lines = shown.decode().split("\r\x1b[K")
    assert len(lines) == 20
    assert "%" in lines[-1] and "█" in lines[-1] and " ms" in lines[-1]
    assert not any(line.startswith("{") for line in lines)


def _piece(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says EIO when the other side has closed
        return b""


def test_a_sensor_that_is_another_is_told_so_once(tmp_path: Path) -> None:
    """A robot of the gate, one axis of whose gyroscope has died."""
    samples = read_borealtc(next(p for p in starter.recordings("gate", "imu") if p.name.startswith("snow")))[1]
    samples[:, 4] = 0
    (tmp_path / "dead.csv").write_text(csv(len(samples), samples=samples.astype(np.float64)))
    arguments = (
        "--bundle",
        starter.folder("imu", "int8"),
        "--source",
        f"file:{tmp_path / 'dead.csv'}",
        "--speed",
        "max",
    )
    records, told = run(*arguments)
    assert told.count("\n") == 1
    assert "this imu sensor no longer looks like what its bundle was calibrated on: gy stands still" in told
    assert "drift" not in records[0]
    assert records[-1]["drift"]["drifted"] is True
    records, told = run(*arguments, "--no-drift")
    assert told == ""
    assert not any("drift" in record for record in records)
