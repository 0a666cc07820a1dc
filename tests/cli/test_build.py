"""`edgebind build`: what it prints, and the one line it refuses with."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgebind import cli, cuda
from edgebind.cuda import Driver
from edgebind.engines.flavour import Flavour
from edgebind.errors import EdgebindError, OptionError
from tests import bundles


def _build(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.group, ["build", *(str(argument) for argument in arguments)])


def test_ahead_for_gpus_that_are_named(tmp_path: Path, rtx: Flavour) -> None:
    folder = bundles.write(tmp_path / "b")
    arguments = (folder, "--target", "sm_86", "--target", "8.9", "--batch", "1,4,1", "--out", tmp_path / "engines")
    first, second = _build(*arguments), _build(*arguments)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    (engine,) = (tmp_path / "engines").rglob("*.engine")
    assert f"engine    {engine}, " in first.output
    assert f"for       SM 8.6, SM 8.9; {rtx}; batch 1; batch 4" in first.output
    assert "no engine of this bundle is in the cache" in first.output
    assert ", built in " in first.output
    assert ", in the cache, once built in " in second.output


def test_whether_it_takes_pixels_is_told(tmp_path: Path, rtx: Flavour) -> None:
    folder = bundles.write_seer(tmp_path / "b")
    arguments = (folder, "--target", "sm_86", "--out", tmp_path / "engines")
    assert "takes     8-bit pixels; " in _build(*arguments).output
    floats = _build(*arguments, "--floats")
    assert "it takes 8-bit pixels, and one for the encoder's own input is wanted" in floats.output
    assert "takes     " not in floats.output
    assert ", in the cache, " in _build(*arguments).output
    frames = _build(*arguments, "--frame", "64x48")
    assert "takes     8-bit frames of 64 x 48; " in frames.output
    for wrong in (("--frame", "64x48", "--floats"), ("--frame", "64"), ("--frame", "64x48", "--tf32")):
        assert isinstance(_build(*arguments, *wrong).exception, OptionError)
    movements = _build(bundles.write(tmp_path / "imu"), *arguments[1:], "--frame", "64x48")
    assert (
        "no 8-bit frames come into this engine (wanted pictures whose pixels do not depend on each other, for --frame"
        in str(movements.exception)
    )
    shown = CliRunner().invoke(cli.group, ["inspect", str(folder)])
    assert "TensorRT takes the 8-bit pixels after resize and crop" in shown.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "sm_87"], "does not build for this GPU (wanted sm_75, "),
        (["--target", "8.7"], "got sm_87); build on the device, with the TensorRT that its JetPack brings"),
        (["--target", "sm_90"], "does not build for this GPU"),
        (["--target", "orin"], "--target: no GPU's compute capability (wanted such as sm_86 or 8.6, got 'orin')"),
        (["--target", "86", "--batch", "16-1"], "batch sizes out of order"),
        (
            ["--target", "86", "--batch", "1-2-3-4"],
            "not a batch size (wanted such as 1 or 1,16 or 1-16, got '1-2-3-4')",
        ),
        (
            ["--target", "86", "--flavour", "trt"],
            "unknown flavour of TensorRT (wanted auto or tensorrt or rtx, got 'trt')",
        ),
        (["--target", "86", "--dla", "0"], "--dla: TensorRT-RTX has no DLA"),
        (["--target", "86", "--version-compatible"], "--version-compatible: an engine of TensorRT-RTX runs on its own"),
        (
            ["--target", "86", "--hardware-compatible"],
            "--hardware-compatible: TensorRT-RTX takes a list of GPUs instead",
        ),
        (["--target", "86", "--strip-weights"], "--strip-weights: an engine without weights is built with a GPU only"),
        (["--flavour", "rtx"], "no NVIDIA driver; name a GPU to build for, with --target sm_86"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, tmp_path: Path, rtx: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "driver", lambda: Driver(reason="no NVIDIA driver"))
    folder = bundles.write(tmp_path / "b")
    done = _build(folder, *arguments, "--out", tmp_path / "engines")
    assert isinstance(done.exception, EdgebindError), done.output
    assert message in str(done.exception)
    assert not (tmp_path / "engines").exists()


def test_a_graph_that_tensorrt_cannot_read_is_one_line(tmp_path: Path, rtx: Flavour) -> None:
    from edgebind import bundle

    folder = tmp_path / "b"
    graph = bundles.encoder().replace(b"ReduceL2", b"ReduceL9")
    bundle.write(folder, bundles.IMU, {bundle.ENCODER: graph})
    done = _build(folder, "--target", "sm_86", "--out", tmp_path / "engines")
    assert isinstance(done.exception, EdgebindError)
    assert f"{folder}/encoder.onnx: {rtx} cannot build it: the graph cannot be read at ReduceL9" in str(done.exception)
    assert not list((tmp_path / "engines").rglob("*.engine"))


def test_an_altered_bundle_is_not_built(tmp_path: Path, rtx: Flavour) -> None:
    folder = bundles.write(tmp_path / "b")
    (folder / "encoder.onnx").write_bytes(b"")
    assert "was altered" in str(_build(folder, "--target", "sm_86", "--out", tmp_path / "engines").exception)
