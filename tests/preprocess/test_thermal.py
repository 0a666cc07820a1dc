from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgebind import preprocess
from edgebind.errors import RecordingError
from edgebind.preprocess import ThermalPreprocessor, images
from edgebind.preprocess.thermal import celsius_from_centikelvin

RNG = np.random.default_rng(0)


def reference(path: Path) -> np.ndarray:
    """ImageBind's thermal transform: `convert("L")`, bicubic short side 224, centre crop, / 255."""
    picture = Image.open(path).convert("L")
    width, height = picture.size
    size = (224, int(224 * height / width)) if width <= height else (int(224 * width / height), 224)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    picture = picture.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    return np.asarray(picture, np.float64)[None] / 255


def test_imagebind_pictures(shared: Path) -> None:
    grey = sorted((shared / "data/thermal_hituav/images").glob("*.jpg"))[:3]
    three_equal_channels = sorted((shared / "data/thermal_llvip/ir").glob("*.jpg"))[:2]
    assert grey
    assert three_equal_channels
    for path in grey + three_equal_channels:
        output = preprocess.for_imagebind("thermal")(images.read_image(path))
        assert output.shape == (1, 224, 224)
        np.testing.assert_allclose(output, reference(path), atol=1e-7)


def test_false_colour_is_refused(shared: Path) -> None:
    frame = images.read_image(shared / "data/thermal_radiometric/25_Videocamera_Termica.jpg")
    with pytest.raises(RecordingError, match="false colour"):
        preprocess.for_imagebind("thermal")(frame)


def test_explicit_range_by_hand() -> None:
    """20 °C is 0, 40 °C is 1; colder and hotter things stay at the ends."""
    make = ThermalPreprocessor(size=2, low=20.0, high=40.0, resize="squash")
    frame = np.array([[10.0, 25.0], [30.0, 45.0]], np.float32)
    np.testing.assert_allclose(make(frame), [[[0.0, 0.25], [0.5, 1.0]]], atol=1e-6)
    counts = np.array([[20, 25], [30, 40]], np.uint16)
    np.testing.assert_allclose(make(counts), [[[0.0, 0.25], [0.5, 1.0]]], atol=1e-6)


def test_percentiles_span_a_frame_without_a_range() -> None:
    """101 levels from 20 to 120: the 1st percentile is 21, the 99th 119."""
    frame = np.repeat(np.linspace(20, 120, 101)[:, None], 101, axis=1).astype(np.float32)
    output = ThermalPreprocessor(size=101)(frame)[0]
    np.testing.assert_allclose(output[:, 50], np.clip((frame[:, 50] - 21) / 98, 0, 1), atol=1e-6)


def test_one_dead_pixel_does_not_darken_the_frame() -> None:
    frame = RNG.uniform(2900, 3100, (120, 160)).astype(np.uint16)
    clean = ThermalPreprocessor(size=64)(frame)
    frame[60, 80] = 65535
    assert np.abs(ThermalPreprocessor(size=64)(frame) - clean).mean() < 0.005


def test_counts_and_degrees_of_one_scene_agree() -> None:
    """Percentiles take unit and offset out: raw centikelvin and °C give the same picture."""
    counts = RNG.integers(29000, 31000, (120, 160)).astype(np.uint16)
    make = ThermalPreprocessor(size=96)
    np.testing.assert_allclose(make(counts), make(celsius_from_centikelvin(counts)), atol=1e-4)


def test_flat_frames_are_zeros() -> None:
    flat = np.full((60, 80), 21.5, np.float32)
    assert not ThermalPreprocessor(size=32)(flat).any()
    assert not ThermalPreprocessor(size=32, normalise="robust")(flat).any()


def test_robust_by_hand() -> None:
    """Levels 0, 1, ... 100 of 255: median 50, percentiles 10 and 90, so (x - 50) / (40 + 255 epsilon)."""
    frame = np.repeat(np.arange(101, dtype=np.uint8)[:, None], 101, axis=1)
    make = ThermalPreprocessor(
        size=101, normalise="robust", percentiles=(10.0, 90.0), epsilon=0.1, clip=0.5, mean=0.1, std=2.0
    )
    scaled = np.clip((np.arange(101) - 50) / (40 + 25.5), -0.5, 0.5)
    np.testing.assert_allclose(make(frame)[0, :, 7], (scaled - 0.1) / 2, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 20.0), st.floats(-40.0, 100.0))
def test_robust_forgets_gain_and_offset(gain: float, offset: float) -> None:
    scene = np.random.default_rng(3).normal(0, 1, (48, 64))
    make = ThermalPreprocessor(size=32, normalise="robust", epsilon=1e-6)
    np.testing.assert_allclose(make(scene * gain + offset), make(scene), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("how", images.RESIZES)
@pytest.mark.parametrize("normalise", ["none", "robust"])
@pytest.mark.parametrize("shape", [(20, 20), (61, 80), (120, 47)])
def test_every_option_gives_the_square(dtype: type, how: str, normalise: str, shape: tuple[int, int]) -> None:
    frame: np.ndarray = RNG.uniform(0, 250, shape).astype(dtype)
    output = ThermalPreprocessor(size=24, resize=how, normalise=normalise)(frame)
    assert output.shape == (1, 24, 24)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    limits = (0, 1) if normalise == "none" else (-3, 3)
    assert limits[0] <= output.min() < output.max() <= limits[1]


def test_celsius_by_hand() -> None:
    counts = np.array([0, 27315, 30015, 65535], np.uint16)
    output = celsius_from_centikelvin(counts)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, [-273.15, 0.0, 27.0, 382.2], atol=1e-5)
    with pytest.raises(RecordingError, match="whole counts"):
        celsius_from_centikelvin(counts / 2)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.full((9, 9), np.nan), "81 of 81 values"),
        (np.full((9, 9), np.inf, np.float32), "NaN or infinity"),
        (np.zeros((9, 9), np.int32), "uint8 levels, uint16 counts or float"),
        (np.zeros((9, 9), bool), "not numeric"),
        (np.zeros((0, 9), np.uint8), "is empty"),
        (np.zeros((2, 9, 9), np.uint8), "wanted (height, width)"),
        (np.zeros(9, np.uint8), "wanted (height, width)"),
    ],
)
def test_wrong_frames_get_one_line(frame: np.ndarray, says: str) -> None:
    with pytest.raises(RecordingError) as caught:
        preprocess.for_imagebind("thermal")(frame)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_frame_that_no_camera_writes_is_refused() -> None:
    """Its mean and spread would be infinite, and an INT8 encoder makes a unit vector of anything."""
    frame = np.linspace(-3e38, 3e38, 81, dtype=np.float32).reshape(9, 9)
    for normalise in ("none", "standard", "robust"):
        with pytest.raises(RecordingError, match="cannot be true"):
            ThermalPreprocessor(size=8, normalise=normalise)(frame)


def test_another_unit_is_noticed() -> None:
    """Centikelvin counts, or kelvin, given to a range in °C; a furnace a little beyond the range is no mistake."""
    make = ThermalPreprocessor(size=8, low=0.0, high=40.0)
    for wrong in (np.full((9, 9), 30000, np.uint16), np.full((9, 9), 295.0)):
        with pytest.raises(RecordingError, match="far outside the range"):
            make(wrong)
    np.testing.assert_array_equal(make(np.full((9, 9), 60.0)), np.ones((1, 8, 8)))


def test_standard_gives_mean_zero_and_forgets_the_cameras_gain() -> None:
    level = np.random.default_rng(0).integers(60, 120, (64, 64), dtype=np.uint8)
    see = ThermalPreprocessor(size=64, resize="squash", normalise="standard", epsilon=0.02, clip=3.0)
    out = see(level)[0]
    unit = level / 255.0
    np.testing.assert_allclose(out, np.clip((unit - unit.mean()) / (unit.std() + 0.02), -3, 3), atol=1e-5)
    assert np.abs(out - see((level + 100).astype(np.uint8))[0]).max() < 1e-4


def test_by_size_is_zero_around_what_was_seen() -> None:
    """24 x 24 of 96 pixels at 64 is 32 x 32 in the middle; its own contrast knows nothing of what is around it."""
    frame = RNG.integers(0, 256, (24, 24), dtype=np.uint8)
    output = ThermalPreprocessor(size=64, resize="by-size", normalise="standard", clip=10)(frame)[0]
    inner = np.asarray(
        Image.fromarray(frame.astype(np.float32) / np.float32(255)).resize((32, 32), Image.Resampling.BICUBIC)
    )
    np.testing.assert_allclose(output[16:48, 16:48], (inner - inner.mean()) / (inner.std() + 0.02), atol=1e-5)
    output[16:48, 16:48] = 0
    np.testing.assert_allclose(output, 0, atol=1e-6)


def test_by_size_of_a_whole_frame_fills_the_square_as_a_letterbox_would() -> None:
    frame = RNG.integers(0, 256, (640, 640), dtype=np.uint8)
    letterbox = ThermalPreprocessor(size=64, resize="letterbox")(frame)
    np.testing.assert_array_equal(ThermalPreprocessor(size=64, resize="by-size")(frame), letterbox)
