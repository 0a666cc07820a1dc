from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgebind.calibration import engine, ranges, trtexec
from edgebind.calibration.batches import Batch
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.transforms.rewrites import Rewrites, Scaling
from edgebind.errors import CalibrationError, OptionError
from tests.calibration.conftest import WIDTH

PUBLISHED = """TRT-7000-EntropyCalibration2
data: 3c008912
conv1: 3c88edfc
pool1: 3c88edfc
conv2: 3ddc858b
prob: 3c010a14
"""
"""From the documentation of NVIDIA's sampleINT8."""


def of(**tensors: tuple[float, float]) -> Ranges:
    return Ranges("0" * 64, "minmax", 10, tensors)


def test_a_hand_worked_cache() -> None:
    """1 / 127 is 0x3c010204 in float32, 127 / 127 is 0x3f800000; the larger side of zero counts."""
    text = trtexec.to_text(trtexec.from_ranges(of(x=(-0.5, 1.0), y=(-127.0, 3.0), dead=(0.0, 0.0))))
    assert text.splitlines() == ["TRT-100300-EntropyCalibration2", "x: 3c010204", "y: 3f800000", "dead: 00000000"]


@pytest.mark.parametrize(("name", "scale"), [("data", 0.00784518), ("conv2", 0.10767659), ("prob", 0.00787590)])
def test_a_published_cache(name: str, scale: float) -> None:
    """data: a picture from -1 to 1 that a histogram's bins cut at 0.9963; prob: a softmax."""
    cache = trtexec.from_text(PUBLISHED)
    assert (cache.version, cache.algorithm, len(cache.scales)) == (7000, "EntropyCalibration2", 5)
    assert cache.scales[name] == pytest.approx(scale, rel=1e-4)
    assert trtexec.to_text(cache) == PUBLISHED


def test_a_value_explained_by_nvidia() -> None:
    """relu46: 3c92aa10 is 0.0179033577, NVIDIA's developer forum."""
    cache = trtexec.from_text("TRT-5105-EntropyCalibration2\nrelu46: 3c92aa10\n")
    assert cache.scales["relu46"] == pytest.approx(0.0179033577, rel=1e-7)


def test_scales_survive_the_file_as_float32() -> None:
    ranges = of(**{"input_1:0": (-3.3, 2.2), "(Unnamed Layer* 82) [Shuffle]_output": (0.0, 1e-3)})
    cache = trtexec.from_ranges(ranges)
    assert trtexec.from_text(trtexec.to_text(cache)) == cache
    assert cache.scales["input_1:0"] == np.float32(3.3 / 127)


def test_zeros_that_were_left_out() -> None:
    """TensorRT writes a scale of nothing as 0."""
    assert trtexec.from_text("TRT-8401-EntropyCalibration2\n366: 0\n").scales == {"366": 0.0}


@pytest.mark.parametrize(
    ("version", "number"), [("10.3.0", 100300), ("10.14.1", 101401), ("8.6.1.6", 8601), ("10.7", 100700)]
)
def test_versions_as_tensorrt_counts_them(version: str, number: int) -> None:
    assert trtexec.number_of(version) == number


@pytest.mark.parametrize("version", ["11.0.0", "7.1.3", "ten", ""])
def test_other_versions_read_no_cache(version: str) -> None:
    with pytest.raises(OptionError, match="reads no calibration cache"):
        trtexec.number_of(version)


@pytest.mark.parametrize("text", ["", "{}", "TRT-8401\nx: 0\n"])
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(CalibrationError, match="no calibration cache"):
        trtexec.from_text(text)


@pytest.mark.parametrize("line", ["x 3c010204", "x: 3c0102041", "x: hello", ": 3c010204"])
def test_a_damaged_line_is_named(line: str) -> None:
    with pytest.raises(CalibrationError, match=r"calib\.txt, line 3: not a line"):
        trtexec.from_text(f"TRT-8401-EntropyCalibration2\ny: 0\n{line}\n", "calib.txt")


def test_a_name_that_no_line_can_hold() -> None:
    with pytest.raises(CalibrationError, match="fits no line"):
        trtexec.from_ranges(of(**{"a\nb": (0.0, 1.0)}))


@pytest.mark.parametrize("external", [False, True])
def test_ranges_of_a_smoothed_graph_bring_that_graph(
    encoder: Path, walks: list[Batch], tmp_path: Path, *, external: bool
) -> None:
    if external:
        onnx.save(onnx.load(encoder), encoder, save_as_external_data=True, location="encoder.data", size_threshold=100)
    halved = Scaling("smoothing", "n", (2.0,) * WIDTH, (("scale", 0), ("shift", 0)), (("w3", 0),))
    found = replace(ranges.collect(encoder, walks[:1])["minmax"], rewrites=Rewrites((halved,)))
    target = tmp_path / "out" / "imu.cache"
    with pytest.raises(CalibrationError, match="of a smoothed or equalised graph; say --graph"):
        trtexec.write(found, target)
    assert not target.parent.exists()
    written = trtexec.write(found, target, graph=encoder)
    assert written == [target, target.with_name("imu.cache.onnx")]
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "imu.cache",
        "imu.cache.onnx",
        *(["imu.cache.onnx.data"] if external else []),
    ]
    before, after = (engine.embed(graph, walks[:1], optimise=False) for graph in (encoder, written[1]))
    np.testing.assert_allclose(after, before, atol=1e-5)
    with engine.Tap(encoder, ["n"]) as old, engine.Tap(written[1], ["n"]) as new:
        expected = old.run(walks[0].inputs)["n"] / 2
        np.testing.assert_allclose(new.run(walks[0].inputs)["n"], expected, rtol=1e-5, atol=1e-6)
