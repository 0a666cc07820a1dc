from __future__ import annotations

import errno
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgebind
from edgebind import drawing, starter
from edgebind.calibration import ranges
from edgebind.calibration.gate import Bars
from edgebind.errors import CalibrationError, CheckpointError, EdgebindError, GateError, OptionError, StorageError
from edgebind.export import findings, half_range, original, road
from edgebind.export.original import Original
from edgebind.export.road import Request, export
from edgebind.labels import LabelBank
from edgebind.manifest import Manifest, WindowSpec


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.slow
def test_the_starter_becomes_int8_bundles(
    starter_space: Path, tmp_path: Path, compile_rtx: Callable[[Path], int]
) -> None:
    made = list(export(Request("int8", tmp_path / "out")))
    assert left_in(tmp_path / "out") == ["imu-int8", "thermal-int8"]
    for exported in made:
        bundle = edgebind.load(exported.folder)
        assert bundle.manifest.precision == "int8"
        assert bundle.manifest.gate["cosine_mean"] >= 0.99
        assert set(bundle.manifest.files) == {
            "encoder.onnx", "encoder.u8s8.onnx", "encoder.u8u8.onnx", "labels.npz", "ranges.json", "reference.npz",
            "report.html", "report.json",
        }  # fmt: skip
        assert bundle.reference is not None
        assert (exported.folder / "report.html").stat().st_size < 1_000_000
        assert compile_rtx(exported.folder / "encoder.onnx") > 0
        _check_documents(exported.folder, starter.folder(bundle.manifest.modality, "fp32"))


def _check_documents(folder: Path, original: Path) -> None:
    of = ranges.from_json((folder / "ranges.json").read_text())
    of.require_graph(original / "encoder.onnx")
    report = json.loads((folder / "report.json").read_text())
    assert set(report["graphs"]) == {"encoder.onnx", "encoder.u8s8.onnx", "encoder.u8u8.onnx"}
    assert report["speed"]["cpu"]


def test_fp16_of_the_starter_is_judged_on_recordings(starter_space: Path, tmp_path: Path) -> None:
    (made,) = export(Request("fp16", tmp_path / "out", modalities=("imu",)))
    assert made.description.gate["judged_on"] == "recordings"
    assert made.description.gate["cosine_mean"] > 0.999
    windows = np.random.default_rng(0).normal(size=(3, 6, 200)).astype(np.float32)
    with edgebind.load(made.folder) as half, edgebind.load(starter.folder("imu", "fp32")) as full:
        assert (half.embed(windows) * full.embed(windows)).sum(axis=1).min() > 0.999


@pytest.mark.usefixtures("undrawn")
def test_what_half_cannot_hold_is_kept_and_said(
    starter_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compile_rtx: Callable[[Path], int]
) -> None:
    (plain,) = export(Request("fp16", tmp_path / "plain", modalities=("imu",)))
    assert plain.hazards == ()
    assert json.loads((plain.folder / "report.json").read_text())["kept_in_float32"] == []
    monkeypatch.setattr(half_range, "HEADROOM", 5000.0)  # as if what was seen might become thousands of times larger
    (made,) = export(Request("fp16", tmp_path / "out", modalities=("imu",)))
    written = json.loads((made.folder / "report.json").read_text())["kept_in_float32"]
    assert [item["tensor"] for item in written] == [hazard.tensor for hazard in made.hazards] != []
    assert all(item["danger"] == "overflow" and item["largest"] > 65504 / 5000 for item in written)
    assert (made.folder / "encoder.onnx").stat().st_size > (plain.folder / "encoder.onnx").stat().st_size
    assert compile_rtx(made.folder / "encoder.onnx") > 0


def test_fp32_remembers_its_sensor_where_recordings_are_given(
    starter_space: Path, towers: dict[str, Path], tmp_path: Path
) -> None:
    (made,) = export(Request("fp32", tmp_path / "out", modalities=("imu",)))
    reference = edgebind.load(made.folder).reference
    assert reference is not None
    assert (reference.modality, reference.names[:3]) == ("imu", ("outside", "inside", "gravity"))
    assert "report.html" not in made.description.files
    (blind,) = export(Request("fp32", tmp_path / "blind", towers["imu"]))
    assert edgebind.load(blind.folder).reference is None


def test_without_matplotlib_there_is_no_page_and_no_complaint(
    starter_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "is_there", lambda: False)
    (made,) = export(Request("fp16", tmp_path / "out", modalities=("imu",)))
    assert "report.html" not in made.description.files
    monkeypatch.undo()
    (made,) = export(Request("fp16", tmp_path / "out", modalities=("imu",)))
    assert "report.html" in made.description.files
    assert edgebind.load(made.folder).manifest == made.description


@pytest.mark.usefixtures("undrawn")
def test_a_checkpoint_is_split_by_recording(towers: dict[str, Path], walks: Path, tmp_path: Path) -> None:
    (made,) = export(Request("int8", tmp_path / "out", towers["imu"], calibration=(walks,)))
    assert made.quantised is not None
    assert made.quantised.report["recordings"]["gate"].keys() == {"walk_2.csv.gz"}
    assert made.quantised.report["recordings"]["calibration"].keys() == {"walk_0.csv.gz", "walk_1.csv.gz"}
    assert made.description.provenance["exported_from"] == "imu.safetensors"


@pytest.mark.parametrize(
    ("request_", "error", "line"),
    [
        (Request("int4", Path("out")), OptionError, "unknown precision"),
        (Request("int8", Path("out"), modalities=("smell",)), OptionError, "unknown modality"),
        (Request("int8", Path("out"), modalities=("audio",)), OptionError, "no such tower"),
        (Request("int8", Path("out"), Path("x.pth")), CalibrationError, "noise is never calibration"),
        (Request("fp32", Path("out"), Path("x.pth")), CheckpointError, "no such checkpoint"),
        (Request("int8", Path("out"), Path("x.pth"), calibration=(Path("p"),)), CalibrationError, "no such recording"),
    ],
)
def test_what_cannot_be_done_is_refused_first(
    request_: Request, error: type[EdgebindError], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=line):
        list(export(request_))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (".", r"frames/day: pictures fit several modalities \(wanted a folder called depth or vision"),
        ("vision", "no depth recording; give a folder called depth"),
    ],
)
def test_pictures_of_one_camera_calibrate_no_other(
    frames: Path, tmp_path: Path, path: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(road, "modalities_of", lambda _: ("depth", "imu", "vision"))
    shutil.copytree(frames / "night", frames / "vision")
    request = Request("int8", tmp_path / "out", Path("x.pth"), calibration=(frames / path,))
    with pytest.raises(EdgebindError, match=line):
        road._material(road._with_modalities(request), _original("depth"), lambda _: None)


def _original(modality: str) -> Original:
    spec = WindowSpec(8.0, 0.125, 0.125, ("distance",), ("m",))
    description = Manifest("test", modality, 8, "fp32", 1.0, spec, {"kind": modality})
    return Original(Path("encoder.onnx"), description, LabelBank.empty(8))


def test_every_tower_of_a_checkpoint_is_asked_for_its_recordings(towers: dict[str, Path]) -> None:
    assert original.modalities_of(towers["thermal"]) == ("thermal",)


def test_a_tower_of_another_modality_is_refused(towers: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds another modality"):
        list(export(Request("fp32", tmp_path / "out", towers["imu"], ("thermal",))))
    assert not (tmp_path / "out").exists()


def test_a_truncated_checkpoint_is_refused(towers: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(towers["imu"].read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        list(export(Request("fp32", tmp_path / "out", tmp_path / "cut.safetensors")))
    assert left_in(tmp_path) == ["cut.safetensors"]


def test_recordings_of_the_wrong_kind_are_refused(towers: dict[str, Path], frames: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no imu recording"):
        list(export(Request("int8", tmp_path / "out", towers["imu"], calibration=(frames,))))
    assert not (tmp_path / "out").exists()


def test_too_few_recordings_are_refused(towers: dict[str, Path], walks: Path, tmp_path: Path) -> None:
    lines = gzip.decompress((walks / "walk_0.csv.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "short.csv").write_bytes(b"".join(lines[:5001]))
    stages: list[str] = []
    request = Request("int8", tmp_path / "out", towers["imu"], calibration=(tmp_path / "short.csv",))
    with pytest.raises(CalibrationError, match=r"short\.csv: too few windows to calibrate"):
        list(export(request, lambda _, stage: stages.append(stage)))
    assert stages == ["look at recordings"]  # nothing was exported yet
    assert not (tmp_path / "out").exists()


def test_a_bar_that_is_missed_writes_nothing(starter_space: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="drifts too far"):
        list(export(Request("int8", tmp_path / "out", modalities=("imu",), bars=Bars(1, 1, 1))))
    assert not (tmp_path / "out").exists()


def test_fp16_that_misses_its_bar_is_not_sent_to_fp16(starter_space: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"got cosine mean 0\.9999.*use --precision fp32"):
        list(export(Request("fp16", tmp_path / "out", modalities=("imu",), bars=Bars(1, 0, 0))))


@pytest.mark.parametrize(
    "stage", ["starter encoder", "read recordings", "ranges of", "trying", "gate on", "speed", "write"]
)
@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_leaves_what_was_there(starter_space: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(starter.folder("imu", "fp32"), out / "imu-int8")
    before = {path.name: path.read_bytes() for path in (out / "imu-int8").iterdir()}

    def interrupt(modality: str, now: str) -> None:
        if now.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(export(Request("int8", out, modalities=("imu",)), interrupt))
    calibrated = [".imu-int8.search"] if stage in ("gate on", "speed") else []
    assert left_in(out) == [*calibrated, "imu-int8"]
    assert {path.name: path.read_bytes() for path in (out / "imu-int8").iterdir()} == before


@pytest.mark.usefixtures("undrawn")
def test_a_calibration_that_ctrl_c_found_done_is_not_done_again(starter_space: Path, tmp_path: Path) -> None:
    stages: list[str] = []

    def interrupt(modality: str, now: str) -> None:
        if now.startswith("gate on"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(export(Request("int8", tmp_path / "out", modalities=("imu",)), interrupt))
    list(export(Request("int8", tmp_path / "out", modalities=("imu",)), lambda modality, now: stages.append(now)))
    assert not any(stage.startswith(("ranges of", "trying")) for stage in stages)
    assert any(stage.startswith("gate on") for stage in stages)
    assert left_in(tmp_path / "out") == ["imu-int8"]


def test_a_full_disk_leaves_nothing(starter_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(onnx, "save", full)
    with pytest.raises(StorageError, match="the disk is full"):
        list(export(Request("int8", tmp_path / "out", modalities=("imu",))))
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_a_file_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stages: list[str] = []
    with pytest.raises(StorageError, match="cannot be made"):
        list(export(Request("int8", tmp_path / "file" / "out"), lambda _, stage: stages.append(stage)))
    assert stages == []


def test_a_starter_without_towers_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "HERE", tmp_path / "nowhere")
    with pytest.raises(EdgebindError, match="no bundle here"):
        list(export(Request("int8", tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_the_default_is_everything_the_source_has() -> None:
    assert Request("int8", Path("out")).modalities == ()
    assert findings.REPORT == "report.json"
