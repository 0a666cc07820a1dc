"""What pip installs is what the repository holds, under one namespace."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("export", "calibration", "benchmarks")


def _tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


def _as_installed(name: str) -> str | None:
    """Path in the wheel of a tracked file, or None where it does not belong there."""
    top = name.split("/")[0]
    if top in LAYERS:
        return f"edgebind/{name}" if name.endswith(".py") else None
    return name if top == "edgebind" and not (ROOT / name).is_symlink() else None


@pytest.mark.slow
def test_the_wheel_holds_what_git_tracks_and_nothing_else(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of files to compare with")
    export = tmp_path / "source"
    export.mkdir()
    files = subprocess.Popen(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE)
    subprocess.run(
        ["tar", "--null", "--files-from=-", "--ignore-failed-read", "-cf", str(tmp_path / "s.tar")],
        cwd=ROOT,
        stdin=files.stdout,
        check=True,
    )
    files.communicate()
    subprocess.run(["tar", "-xf", str(tmp_path / "s.tar"), "-C", str(export)], check=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(tmp_path),
            str(export),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {installed for name in _tracked() if (installed := _as_installed(name))}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_a_part_of_edgebind_and_nothing_on_its_own(layer: str) -> None:
    bare = subprocess.run(
        [sys.executable, "-c", f"import {layer}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"import it as edgebind.{layer}" in bare.stderr
    whole = subprocess.run(
        [sys.executable, "-c", f"import edgebind.{layer}"], cwd=ROOT, capture_output=True, check=False
    )
    assert whole.returncode == 0, whole.stderr


@pytest.mark.parametrize("layer", LAYERS)
def test_the_links_for_editors_point_at_the_layers(layer: str) -> None:
    assert (ROOT / "edgebind" / layer).readlink() == Path("..") / layer


RUNTIME = "edgebind.bundle, edgebind.stream, edgebind.window, edgebind.preprocess, edgebind.doctor"
BUILDING = "edgebind.export.engine, edgebind.engines.loading, edgebind.triton"


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("edgebind", ["torch", "onnx", "onnxruntime", "numpy"]),
        (RUNTIME, ["torch", "onnx", "onnxruntime", "PIL"]),
        (BUILDING, ["torch", "onnx", "onnxruntime", "PIL"]),
    ],
    ids=["edgebind", "runtime", "building"],
)
def test_what_a_device_imports_brings_in_nothing_heavy(modules: str, heavy: list[str]) -> None:
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
