from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgebind.cli import main


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--precision", "int4"], "unknown precision (wanted fp32 or fp16 or int8, got 'int4')"),
        (["--modality", "smell"], "unknown modality"),
        (["--modality", "audio"], "the starter space has no such tower"),
        (["--checkpoint", "absent.pth", "--precision", "fp32"], "absent.pth: no such checkpoint"),
        (["--checkpoint", "absent.pth", "--precision", "int8"], "noise is never calibration"),
        (["--precision", "fp32", "--min-cosine", "0.9"], "FP32 is compared with nothing"),
        (["--units", "depth=mm"], "--units says nothing about these recordings (wanted --calibration PATH with it"),
        (["--units", "depth=furlong"], "unknown unit of depth"),
        (["--calibration", ".", "--modality", "imu", "--units", "depth=mm"], "(wanted units of imu, got depth=mm)"),
        (["--attention", "fp8"], "unknown precision of attention (wanted float or int8, got 'fp8')"),
        (["--attention", "int8", "--precision", "fp16"], "--attention int8 is for INT8 (wanted --precision int8"),
        (["--observer", "median"], "unknown observer (wanted minmax or percentile-99.99 or"),
        (["--observer", "minmax", "--precision", "fp32"], "--observer is for INT8 (wanted --precision int8"),
        (["--min-cosine", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (["--min-p1", "nan"], "nan is no finite number"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "fp32" in arguments and "absent.pth" in arguments:
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_half_cannot_hold_is_named(tmp_path: Path) -> None:
    from edgebind.cli.export import _rows
    from edgebind.export.half_range import Hazard
    from edgebind.export.road import Exported
    from tests.bundles import IMU

    large = Hazard("t1", "trunk.3", "MatMul", "overflow", 1.2e5, 0.1, 0.0, 0.0, ("t1", "t2"))
    small = Hazard("t5", "t5", "Mul", "loss", 1e-6, 0.034, 1.0, 0.25, ("t5",))
    rows = dict(_rows(Exported(tmp_path, IMU, None, None, (large, small, small, small, small))))
    quiet = "t5 (Mul) because half loses 3.4%, 100% subnormal"
    assert rows["float32"] == (
        f"kept in float32: trunk.3 (MatMul) because max 1.2e+05; {quiet}; {quiet}; and 2 more, see report.json"
    )
    assert "float32" not in dict(_rows(Exported(tmp_path, IMU, None, None)))


@pytest.mark.parametrize(
    ("share", "in_float", "line"),
    [
        (0.95, ["head"], None),
        (0.8, [], None),
        (0.42, ["head"], "only 42.0% of the MACs in INT8: the bars sent the others back to float"),
        (0.42, [], "only 42.0% of the MACs in INT8: the rest are products without weights"),
    ],
)
def test_a_low_share_of_int8_is_warned_of(share: float, in_float: list[str], line: str | None, tmp_path: Path) -> None:
    from edgebind.calibration.gate import Comparison
    from edgebind.calibration.quantise import Quantised
    from edgebind.calibration.ranges import Ranges
    from edgebind.calibration.speed import Speed
    from edgebind.cli.export import _rows
    from edgebind.export.road import Exported
    from tests.bundles import IMU

    report = {"layers": {"float": [{"layer": name} for name in in_float]}, "transforms": [], "attention": "float"}
    least, race = Comparison(9, 1.0, 1.0, 1.0, None), Speed("cpu", True, "g", 2.0, 1.0, 0.5, 15)
    made = Quantised({}, Ranges("g", "minmax", 9, {}), least, tuple(in_float), share, "float16", race, report)
    warning = dict(_rows(Exported(tmp_path, IMU, least, made))).get("warning")
    assert (warning is None) is (line is None)
    assert (warning or "").startswith(line or "")


def test_only_transforms_that_were_kept_are_named() -> None:
    from edgebind.cli.export import _transform_rows

    smoothed = {"name": "smoothing", "kept": True, "cosine_before": 0.98936, "cosine_after": 0.999712}
    idle = {"name": "bias correction", "kept": False, "cosine_before": 0.99, "cosine_after": 0.99}
    assert _transform_rows({"transforms": [smoothed, idle]}) == [("transforms", "smoothing 0.989360 -> 0.999712")]
    assert _transform_rows({"transforms": [idle]}) == []


def test_help_needs_no_numpy_and_no_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess

    code = (
        "import sys; from edgebind.cli import main; assert main(['export', '--help']) == 0;"
        "assert not {'onnx', 'onnxruntime', 'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
