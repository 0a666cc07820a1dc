"""Bad input at the command line: one clear line, exit code 2, and no file that was not there before."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from edgebind import bundle, cli, manifest, starter
from tests.recordings import csv, still

IMU, THERMAL = str(starter.folder("imu", "int8")), str(starter.folder("thermal", "int8"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused; returns its line."""

    def run(*arguments: str) -> str:
        before = contents(here)
        assert cli.main(list(arguments)) == 2
        shown, told = capsys.readouterr()
        *stages, line = told.splitlines()
        assert line.startswith("edgebind: ")
        assert all(stage.split(":")[0] in ("imu", "thermal") for stage in stages)  # of an export, on its way
        assert shown == ""
        assert contents(here) == before
        return line

    return run


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("export --precision int3", "unknown precision"),
        ("export --modality smell", "unknown modality"),
        ("run --sensor smell", "unknown modality"),
        ("run --duration nan", "nan is no finite number (see edgebind run --help)"),
        ("run --duration 1e999", "1e999 is no finite number"),
        ("bench --seconds nan", "nan is no finite number"),
        ("bench --batch many", "'many' is not a valid integer"),
        ("export --nonsense", "No such option '--nonsense'"),
        ("embed walk.csv", "Missing option '--bundle'"),
        ("fly", "No such command 'fly'"),
    ],
)
def test_options(command: str, line: str, refused: Callable[..., str]) -> None:
    assert line in refused(*command.split())


# --- recordings -------------------------------------------------------------------------------------------------------


def _with(line: int, change: Callable[[str], str]) -> str:
    lines = csv().splitlines()
    lines[line - 1] = change(lines[line - 1])
    return "\n".join(lines)


def _without_last_column(text: str) -> str:
    return "\n".join(line.rpartition(",")[0] for line in text.splitlines())


RECORDINGS: dict[str, tuple[str, str]] = {
    "a missing column": (_without_last_column(csv()), "columns of gx, gy, gz are missing"),
    "no times": (csv(titles="acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", times=()), "no column of time"),
    "NaN": (_with(200, lambda row: f"{row.rpartition(',')[0]},NaN"), "line 200: not a number"),
    "infinity": (_with(200, lambda row: f"{row.rpartition(',')[0]},inf"), "line 200: not a number"),
    "an empty cell": (_with(200, lambda row: f"{row.rpartition(',')[0]},"), "line 200: not a number"),
    "text": (_with(200, lambda row: f"{row.rpartition(',')[0]},loose cable"), "line 200: not a number"),
    "a row cut off": (_with(200, lambda row: row[:20]), "line 200: cut off"),
    "decimal commas": (_with(200, lambda row: row.replace(".", ",")), "line 200: more cells than columns"),
    "time going backwards": (_with(200, lambda row: f"0.5,{row.partition(',')[2]}"), "line 200: time goes backwards"),
    "no rows": (csv(0), "no samples"),
    "nothing": ("", "no samples"),
    "less than a window": (csv(20), "shorter than one window"),
    "a wrong rate": (csv(rate_hz=1), "sampled too slowly"),
    "milliseconds as seconds": (csv(times=range(0, 4000, 10)), "sampled too slowly"),
    "a clock that stands": (csv(times=[0] * 400), "no sensor is that fast"),
    "degrees a second as radians": (csv(samples=still(400) + np.array([0, 0, 0, 200, 0, 0])), "out of physical range"),
    "g as m/s²": (csv(samples=still(400) / 9.81), "acceleration out of physical range"),
    "mg as m/s²": (csv(samples=still(400) * 100), "acceleration out of physical range"),
    "no text at all": ("\0\1\2" * 300, ""),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings(name: str, here: Path, refused: Callable[..., str]) -> None:
    text, line = RECORDINGS[name]
    (here / "walk.csv").write_text(text)
    for command in (
        f"embed --bundle {IMU} walk.csv --out walk.npz",
        f"run --bundle {IMU} --source file:walk.csv --speed max --sink jsonl:walk.jsonl",
        "export --modality imu --calibration walk.csv",
    ):
        told = refused(*command.split())
        assert "walk.csv" in told and line in told


def test_a_rate_that_contradicts_the_recording(here: Path, refused: Callable[..., str]) -> None:
    (here / "walk.csv").write_text(csv())
    line = refused("embed", "--bundle", IMU, "walk.csv", "--rate", "50", "--out", "walk.npz")
    assert "--rate contradicts the recording's own times (wanted about 100 Hz, got 50 Hz)" in line


def test_a_gzip_file_that_is_cut_off(here: Path, refused: Callable[..., str]) -> None:
    packed = gzip.compress(csv().encode())
    (here / "walk.csv.gz").write_bytes(packed[: len(packed) // 2])
    assert "damaged or cut off" in refused("embed", "--bundle", IMU, "walk.csv.gz", "--out", "walk.npz")


def test_one_bad_recording_among_good_ones(here: Path, refused: Callable[..., str]) -> None:
    (here / "good.csv").write_text(csv())
    (here / "bad.csv").write_text(RECORDINGS["NaN"][0])
    assert "bad.csv, line 200" in refused("embed", "--bundle", IMU, "good.csv", "bad.csv", "--out", "walk.npz")


PICTURES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "an image that is no image": (lambda _: b"a letter", "is no picture"),
    "an image that is empty": (lambda _: b"", "is no picture"),
    "an image that is cut off": (lambda png: png[: len(png) // 2], "damaged or cut off"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, here: Path, refused: Callable[..., str]) -> None:
    harm, line = PICTURES[name]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80), np.uint8)).save(here / "frame.png")
    (here / "frame.png").write_bytes(harm((here / "frame.png").read_bytes()))
    for source in ("frame.png", "."):  # alone, and in a folder
        for command in (
            f"embed --bundle {THERMAL} {source} --out frame.npz",
            f"run --bundle {THERMAL} --source file:{source} --speed max --sink jsonl:frame.jsonl",
        ):
            told = refused(*command.split())
            assert "frame.png: " in told and line in told


# --- bundles ----------------------------------------------------------------------------------------------------------


def _flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / bundle.ENCODER).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / bundle.ENCODER).write_bytes(data)


def _list_a_file_outside(folder: Path) -> None:
    table = json.loads((folder / manifest.FILE).read_text())
    table["files"]["../walk.csv"] = hashlib.sha256(b"walk").hexdigest()
    (folder.parent / "walk.csv").write_bytes(b"walk")
    (folder / manifest.FILE).write_text(json.dumps(table))


def _read_a_file_of_somebody_else(folder: Path) -> None:
    model = onnx.load(folder / bundle.ENCODER)
    weights = next(tensor for tensor in model.graph.initializer if tensor.raw_data)
    onnx.external_data_helper.set_external_data(weights, location="/etc/passwd")
    weights.ClearField("raw_data")
    (folder / bundle.ENCODER).write_bytes(model.SerializeToString())
    table = json.loads((folder / manifest.FILE).read_text())
    table["files"][bundle.ENCODER] = bundle.sha256(folder / bundle.ENCODER)
    (folder / manifest.FILE).write_text(json.dumps(table))


BUNDLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one byte changed": (_flip_a_byte, "was altered"),
    "a file is missing": (lambda folder: (folder / bundle.LABELS).unlink(), "is missing"),
    "no manifest": (lambda folder: (folder / manifest.FILE).unlink(), "no bundle here"),
    "a path outside itself": (_list_a_file_outside, "lies outside the bundle"),
    "foreign external data": (_read_a_file_of_somebody_else, "reads '/etc/passwd', which is not a file of the bundle"),
}


@pytest.mark.parametrize("name", BUNDLES)
def test_bundles(name: str, here: Path, refused: Callable[..., str]) -> None:
    harm, line = BUNDLES[name]
    shutil.copytree(starter.folder("imu", "fp32"), here / "imu-fp32")
    harm(here / "imu-fp32")
    (here / "good.csv").write_text(csv())
    for command in (
        "inspect imu-fp32",
        "bench imu-fp32",
        "embed --bundle imu-fp32 good.csv --out walk.npz",
        "run --bundle imu-fp32 --source file:good.csv --speed max --sink jsonl:walk.jsonl",
    ):
        assert line in refused(*command.split())


# --- checkpoints ------------------------------------------------------------------------------------------------------


class Malicious:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("was-run",)


def _checkpoint(path: Path, **changes: tuple[int, ...]) -> Path:
    """An IMU tower of the right keys and shapes, save `changes`; all zeros, of which one is stored."""
    torch = pytest.importorskip("torch")
    from edgebind.models import imagebind

    shapes = {
        name: tuple(value.shape) for name, value in imagebind.build_tower("imu", device="meta").state_dict().items()
    }
    shapes |= changes
    torch.save({imagebind.reference_key("imu", k): torch.zeros(()).expand(s) for k, s in shapes.items()}, path)
    return path


def _cut(path: Path) -> None:
    data = _checkpoint(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _cut_safetensors(path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    save_file({"modality_trunks.imu.blocks.0.norm_1.weight": torch.ones(512)}, path)
    path.write_bytes(path.read_bytes()[:-100])


def _save_malicious(path: Path) -> None:
    pytest.importorskip("torch").save({"modality_trunks.imu.blocks.0.norm_1.weight": Malicious()}, path)


CHECKPOINTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("x.pth", lambda path: None, "no such checkpoint"),
    "empty": ("x.pth", lambda path: path.write_bytes(b""), "not a checkpoint"),
    "truncated": ("x.pth", _cut, "truncated, damaged or no checkpoint"),
    "truncated safetensors": ("x.safetensors", _cut_safetensors, "truncated, damaged or no checkpoint"),
    "a pickle that runs code": ("x.pth", lambda path: path.write_bytes(pickle.dumps(Malicious())), "was refused"),
    "an archive that runs code": ("x.pth", _save_malicious, "was refused"),
    "wrong tower shapes": (
        "x.pth",
        lambda path: _checkpoint(path, **{"head.3.weight": (1024, 384)}),
        "modality_heads.imu.3.weight: weights of another shape (wanted (1024, 512), got (1024, 384))",
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("modality", [[], ["--modality", "imu"]], ids=["all", "one"])
def test_checkpoints(name: str, modality: list[str], here: Path, refused: Callable[..., str]) -> None:
    pytest.importorskip("onnxscript")
    file, make, line = CHECKPOINTS[name]
    make(here / file)
    assert line in refused("export", "--checkpoint", file, "--precision", "fp32", *modality)
    assert not (here / "bundles").exists()
    assert not (here / "was-run").exists()


# --- the machine ------------------------------------------------------------------------------------------------------

EXPORT = [sys.executable, "-m", "edgebind", "export", "--modality", "imu"]


@pytest.mark.parametrize("target", ["/dev/full", "/proc/walk.npz"])
def test_a_place_where_no_file_can_be(target: str, here: Path, refused: Callable[..., str]) -> None:
    (here / "walk.csv").write_text(csv())
    assert "nothing was written" in refused("embed", "--bundle", IMU, "walk.csv", "--out", target)
    assert Path("/dev/full").is_char_device()


def test_a_sink_that_is_refused_leaves_no_other_behind(here: Path, refused: Callable[..., str]) -> None:
    (here / "walk.csv").write_text(csv())
    sinks = ("--sink", "jsonl:walk.jsonl", "--sink", "paper")
    assert "unknown sink" in refused("run", "--bundle", IMU, "--source", "file:walk.csv", "--speed", "max", *sinks)


def test_a_file_that_may_not_be_looked_at(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists

    def forbidden(path: Path) -> bool:  # root, who runs tests in containers, may look at everything
        if path.name != "walk.csv":
            return exists(path)
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", forbidden)
    assert refused("export", "--calibration", "walk.csv") == "edgebind: walk.csv: Permission denied"


def test_a_disk_that_takes_no_more(here: Path) -> None:
    """The system refuses to let a file grow, as a full disk or a quota does, while the export writes its graphs."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(EXPORT, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2
    assert "cannot be written: File too large" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(here.iterdir()) == []


def test_ctrl_c_in_the_middle_of_an_export(here: Path) -> None:
    with subprocess.Popen(EXPORT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        for line in process.stderr:
            told += line
            if "gate on" in line:  # the graphs are being written and judged
                process.send_signal(signal.SIGINT)
                break
        told += process.stderr.read()
        assert process.wait() == cli.INTERRUPTED
    assert told.splitlines()[-1] == "edgebind: interrupted; nothing half-written is left"
    assert "Traceback" not in told
    # No bundle and no scratch folder: only what the same command goes on from.
    assert {str(path.relative_to(here)) for path in here.rglob("*")} <= {"bundles", "bundles/.imu-int8.search"}
