"""Known ranges and calibration sets on their way into a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgebind import starter
from edgebind.calibration import ranges
from edgebind.calibration.windows import collecting, sets
from edgebind.errors import CalibrationError, EdgebindError, OptionError
from edgebind.export.road import Exported, Request, export

pytestmark = pytest.mark.usefixtures("undrawn")
IMU = starter.RECORDINGS / "calibration" / "imu"
INT8 = starter.folder("imu", "int8")


def written(exported: Exported, name: str) -> str:
    return (exported.folder / name).read_text(encoding="utf-8")


@pytest.mark.slow
def test_known_ranges_are_used_as_they_are_and_still_gated(tmp_path: Path) -> None:
    (made,) = export(Request("int8", tmp_path / "out", modalities=("imu",), ranges=INT8 / ranges.FILE))
    assert written(made, ranges.FILE) == ranges.read(INT8).to_json()
    report = json.loads(written(made, "report.json"))
    assert report["observer"]["cosine_on_calibration"] == {}
    assert report["graphs"]["encoder.onnx"]["cosine_mean"] > 0.999


@pytest.mark.slow
def test_a_set_calibrates_and_the_report_names_it(tmp_path: Path) -> None:
    home = tmp_path / "set"
    opened = collecting.collect([IMU], "imu", sets.default_window("imu"), home=home, windows=48, seed=5)
    home.mkdir()
    sets.write(opened.set, home / sets.FILE)
    (made,) = export(Request("int8", tmp_path / "out", modalities=("imu",), calibration=(home,)))
    report = json.loads(written(made, "report.json"))
    named = report["calibration_set"]
    assert (named["file"], named["sha256"], named["windows"]) == (sets.FILE, opened.set.digest, 48)
    assert ranges.read(made.folder).windows == 48
    judged = {each.scan.name for each in opened.looked if each.judges.any()}
    assert set(report["recordings"]["gate"]) == judged
    assert not judged & set(report["recordings"]["calibration"])


@pytest.mark.slow
def test_every_window_is_seen(tmp_path: Path) -> None:
    (made,) = export(Request("int8", tmp_path / "out", modalities=("imu",), calibration=(IMU,), every_window=True))
    opened = collecting.collect([IMU], "imu", sets.default_window("imu"), home=tmp_path)
    assert ranges.read(made.folder).windows == sum(int(each.calibrates.sum()) for each in opened.looked)


def test_a_tower_without_a_set_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    opened = collecting.collect([IMU], "imu", sets.default_window("imu"), home=tmp_path)
    sets.write(opened.set, tmp_path / "imu.json")
    stages: list[str] = []
    with pytest.raises(CalibrationError, match=r"imu\.json: no calibration sets of thermal .*one --modality at a time"):
        list(
            export(
                Request("int8", tmp_path / "out", calibration=(tmp_path / "imu.json",)),
                lambda _, stage: stages.append(stage),
            )
        )
    assert stages == []


@pytest.mark.parametrize(
    ("request_", "kind", "line"),
    [
        (
            Request("int8", Path("out"), modalities=("thermal",), ranges=INT8),
            CalibrationError,
            "ranges of another graph",
        ),
        (Request("int8", Path("out"), ranges=INT8), OptionError, "ranges are of one encoder .*wanted one --modality"),
        (Request("fp16", Path("out"), modalities=("imu",), ranges=INT8), OptionError, "--ranges is for INT8"),
        (Request("fp32", Path("out"), every_window=True), OptionError, "--every-window is for INT8"),
        (
            Request("int8", Path("out"), modalities=("imu",), ranges=INT8, every_window=True),
            OptionError,
            "known ranges need no windows",
        ),
        (
            Request("int8", Path("out"), modalities=("imu",), ranges=Path("absent.json")),
            CalibrationError,
            "no ranges here",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    request_: Request,
    kind: type[EdgebindError],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=line):
        list(export(request_))
    assert not list(tmp_path.rglob("*.onnx"))
