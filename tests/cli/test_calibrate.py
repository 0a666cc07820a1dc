from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgebind import sources, starter
from edgebind.calibration import ranges, trtexec
from edgebind.calibration.windows import sets
from edgebind.cli import main
from edgebind.signals import Chunk
from edgebind.testing import ListSource
from tests.calibration.windows.test_sets import motion, write


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    for place in range(6):
        write(tmp_path / "walks" / f"{place}.csv", motion(40, place, strength=1 + place / 3))
    return tmp_path / "walks"


def run(*arguments: str | Path) -> int:
    return main(["calibrate", *map(str, arguments)])


def test_collect_check_and_change(walks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("collect", walks, "--modality", "imu", "--out", walks, "--windows", "50", "--seed", "3") == 0
    made = sets.read(walks)
    assert (made.draw.windows, made.draw.seed, len(made.recordings)) == (50, 3, 6)
    assert f"sha256 {made.digest[:12]}" in capsys.readouterr().out
    assert run("check", walks) == 0
    assert "calibrate  0.csv" in capsys.readouterr().out
    write(walks / "4.csv", motion(40, 99))
    assert run("check", walks / sets.FILE) == 2
    assert "4.csv: a recording of the set has changed" in capsys.readouterr().err


def test_recordings_are_checked_as_if_they_were_a_set(walks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = motion(40, 1)
    table[:, 6] = 0
    write(walks / "1.csv", table)
    assert run("check", walks, "--modality", "imu", "--json") == 2
    shown = capsys.readouterr()
    finding = json.loads(shown.out)["findings"][0]
    assert finding == {
        "severity": "error",
        "where": "1.csv",
        "line": "channel gz never moves: is the sensor connected?",
    }
    assert shown.err.splitlines() == [f"edgebind: {walks}: not fit to calibrate on (wanted 0 errors, got 1)"]
    assert run("collect", walks, "--modality", "imu", "--out", walks) == 2
    assert not (walks / sets.FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("check", "{walks}"), "whose recordings are they?"),
        (("check", "{walks}/absent.csv", "--modality", "imu"), "no such recording"),
        (("collect", "{walks}", "--modality", "smell", "--out", "{walks}"), "unknown modality"),
        (("collect", "{walks}", "--modality", "thermal", "--out", "{walks}"), "no thermal recording in this folder"),
        (("record", "--sensor", "text", "--source", "file:x", "--out", "{walks}"), "prompts are written"),
        (("record", "--sensor", "imu", "--source", "fly:x", "--out", "{walks}"), "unknown source"),
        (("ranges", "{walks}"), "no ranges here"),
        (("ranges", "{walks}", "--tensorrt", "10.3.0"), "wanted --trtexec FILE with them"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    walks: Path, arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(walks.iterdir())
    assert run(*(argument.format(walks=walks) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.splitlines()) == 1
    assert sorted(walks.iterdir()) == before


def test_recordings_grow_into_a_set(walks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    for place in range(4):
        source = f"file:{walks / f'{place}.csv'}"
        assert run("record", "--sensor", "imu", "--source", source, "--seconds", "30", "--out", folder) == 0
        assert "does not calibrate yet" not in capsys.readouterr().out
    made = sets.read(folder)
    assert [member.role for member in made.recordings] == ["both", "calibrate", "gate", "calibrate"]
    assert all(member.path.endswith(".npz") for member in made.recordings)
    capsys.readouterr()
    assert run("check", folder) == 0
    with np.load(folder / made.recordings[0].path) as recorded:
        assert recorded["samples"].shape == (3000, 6)


def test_nothing_is_recorded_into_a_set_whose_recordings_have_changed(
    walks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("record", "--sensor", "imu", "--source", f"file:{walks / '0.csv'}", "--out", tmp_path / "mine")
    assert run(*command) == 0
    (recording,) = (tmp_path / "mine").glob("*.npz")
    recording.write_bytes(b"something else")
    assert run(*command) == 2
    assert "a recording of the set has changed" in capsys.readouterr().err
    assert list((tmp_path / "mine").glob("*.npz")) == [recording]


class Meanwhile(ListSource):
    """During which somebody else records into the same set."""

    command: tuple[str | Path, ...]

    def __iter__(self) -> Iterator[Chunk]:
        yield from self.chunks
        assert run(*self.command) == 0


def test_two_recordings_at_once_both_join_the_set(walks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, table = sources.open_source, motion(40, 7)
    command = ("record", "--sensor", "imu", "--out", tmp_path / "mine", "--source")
    slow = Meanwhile([Chunk((table[:, 0] * 1e9).astype(np.int64), table[:, 1:].astype(np.float32))])
    slow.command = (*command, f"file:{walks / '0.csv'}")
    monkeypatch.setattr(
        sources, "open_source", lambda text, wanted: slow if text == "file:slow" else opened(text, wanted)
    )
    assert run(*command, "file:slow") == 0
    assert len(sets.read(tmp_path / "mine").recordings) == 2


def test_a_set_that_is_still_too_small_is_a_note(
    walks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = f"file:{walks / '0.csv'}", tmp_path / "mine"
    assert run("record", "--sensor", "imu", "--source", source, "--seconds", "12", "--out", folder) == 0
    *shown, note = capsys.readouterr().out.splitlines()
    errors = sum(line.startswith("error: ") for line in shown)
    assert errors
    assert note.startswith("note: recorded and kept, but this set does not calibrate yet")
    assert f"{errors} error" in note
    assert run("check", folder) == 2


def test_what_is_no_set_of_this_sensor_is_not_replaced(walks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = walks / "precious.json"
    precious.write_text('{"format": "my own"}')
    assert run("collect", walks, "--modality", "imu", "--out", precious) == 2
    assert "not a calibration set" in capsys.readouterr().err
    assert precious.read_text() == '{"format": "my own"}'
    assert run("collect", walks, "--modality", "imu", "--out", walks) == 0
    assert run("collect", walks, "--modality", "imu", "--out", walks) == 0  # its own may be
    spec = sets.default_window("thermal")
    members = (sets.Member("0.png", "", "calibrate", 1),)
    sets.write(sets.CalibrationSet("thermal", spec, {}, members, _draw_of_thermal()), walks / sets.FILE)
    assert run("collect", walks, "--modality", "imu", "--out", walks) == 2
    assert "another sensor's set is there (wanted imu, got thermal)" in capsys.readouterr().err


def _draw_of_thermal() -> sets.Draw:
    return sets.Draw(aspects=("level", "contrast"), edges=((), ()))


class Interrupted(ListSource):
    def __iter__(self) -> Iterator[Chunk]:
        yield from self.chunks
        raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_recorded_and_puts_it_into_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = motion(40, 0)
    chunk = Chunk((table[:, 0] * 1e9).astype(np.int64), table[:, 1:].astype(np.float32))
    monkeypatch.setattr(sources, "open_source", lambda text, wanted: Interrupted([chunk]))
    assert run("record", "--sensor", "imu", "--source", "file:x", "--out", tmp_path) == 130
    assert "4000 samples" in capsys.readouterr().out
    (member,) = sets.read(tmp_path).recordings
    assert sets.sha256_of(tmp_path / member.path) == member.sha256


def test_a_recording_too_short_for_a_window_is_kept_outside_of_the_set(
    walks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"file:{walks / '0.csv'}"
    assert run("record", "--sensor", "imu", "--source", source, "--seconds", "1", "--out", tmp_path / "mine") == 2
    assert "shorter than one window" in capsys.readouterr().err
    assert [path.suffix for path in (tmp_path / "mine").iterdir()] == [".npz"]


def test_ranges_go_to_trtexec_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = starter.folder("imu", "int8")
    known = ranges.read(bundle)
    graph = starter.folder("imu", "fp32") / "encoder.onnx"
    written = ["--out", str(tmp_path / "r.json"), "--trtexec", str(tmp_path / "imu.cache"), "--graph", str(graph)]
    assert run("ranges", bundle, *written) == 0
    assert ranges.read(tmp_path / "r.json") == known
    cache = trtexec.from_text((tmp_path / "imu.cache").read_text())
    assert cache.version == 100300
    for name, (low, high) in known.tensors.items():
        assert cache.scales[name] * 127 == pytest.approx(max(-low, high), rel=1e-6)
    capsys.readouterr()
    assert run("ranges", bundle) == 0
    assert known.graph[:12] in capsys.readouterr().out
    other = starter.folder("thermal", "fp32") / "encoder.onnx"
    assert run("ranges", bundle, "--trtexec", tmp_path / "x.cache", "--graph", other) == 2
    assert "ranges of another graph" in capsys.readouterr().err
    assert not (tmp_path / "x.cache").exists()
