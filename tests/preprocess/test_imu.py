from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebind import preprocess
from edgebind.errors import RecordingError
from edgebind.preprocess import ImuPreprocessor


def test_imagebind_convention_is_g_and_radians() -> None:
    """Worked by hand: a phone lying flat that turns by 2 rad/s about its vertical axis."""
    lying = np.tile(np.array([[0.0], [0.0], [9.80665], [0.0], [0.0], [2.0]], np.float32), (1, 2000))
    output = preprocess.for_imagebind("imu")(lying)
    np.testing.assert_allclose(output[:, 0], [0, 0, 1, 0, 0, 2], rtol=1e-6)
    assert output.dtype == np.float32
    assert output.shape == (6, 2000)


def test_offset_scale_and_clip_by_hand() -> None:
    make = ImuPreprocessor(offset=(1.0, 2.0, 3.0, 0.0, 0.0, 0.0), scale=(2.0, 2.0, 2.0, 0.5, 0.5, 0.5), clip=4.0)
    window = np.array([[3.0], [2.0], [-100.0], [1.0], [-1.0], [100.0]])
    np.testing.assert_array_equal(make(window)[:, 0], [1, 0, -4, 2, -2, 4])


def test_a_batch_is_its_windows() -> None:
    make = ImuPreprocessor(offset=(0.5,) * 6, compand=(0.0, 0.0, 2.0, 0.25, 0.25, 0.0), clip=3.0)
    windows = np.random.default_rng(0).normal(0, 20, (5, 6, 33)).astype(np.float32)
    before = windows.copy()
    np.testing.assert_allclose(make.batch(windows), [make(window) for window in windows], rtol=1e-6)
    np.testing.assert_array_equal(windows, before)
    with pytest.raises(RecordingError, match="another shape"):
        make.batch(windows[:, :5])


def test_a_transposed_window_gives_contiguous_rows() -> None:
    window = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32).T
    output = preprocess.for_imagebind("imu")(window)
    assert output.flags.c_contiguous
    np.testing.assert_array_equal(output, preprocess.for_imagebind("imu")(window.copy()))


@given(st.integers(1, 50), st.floats(0.01, 100.0), st.floats(-50.0, 50.0))
def test_undoing_gives_the_samples_back(length: int, scale: float, offset: float) -> None:
    make = ImuPreprocessor(offset=(offset,) * 6, scale=(scale,) * 6)
    window = np.random.default_rng(length).normal(0, 10, (6, length)).astype(np.float32)
    np.testing.assert_allclose(make(window).astype(np.float64) * scale + offset, window, rtol=1e-5, atol=1e-4)


def test_the_samples_are_not_altered() -> None:
    window = np.ones((6, 8), np.float32)
    preprocess.for_imagebind("imu")(window)[:] = 7
    assert (window == 1).all()


@pytest.mark.parametrize(
    ("window", "says"),
    [
        (np.zeros((2000, 6)), "wanted (6, length)"),
        (np.zeros(6), "wanted (6, length)"),
        (np.zeros((1, 6, 10)), "wanted (6, length)"),
        (np.zeros((6, 0)), "is empty"),
        (np.full((6, 4), np.nan), "24 of 24 values"),
        (np.full((6, 4), 1e300), "NaN or infinity"),
        (np.array([["a"] * 4] * 6), "not numeric"),
        (np.zeros((6, 4), complex), "not numeric"),
    ],
)
def test_wrong_windows_get_one_line(window: np.ndarray, says: str) -> None:
    with pytest.raises(RecordingError) as caught:
        preprocess.for_imagebind("imu")(window)
    assert says in str(caught.value)


def test_compand_is_linear_for_a_tremor_and_logarithmic_for_a_swing() -> None:
    squeeze = ImuPreprocessor(scale=(1.0,) * 3 + (0.05,) * 3, compand=(0.0,) * 3 + (0.25,) * 3)
    window = np.full((6, 2), 0.0005)
    window[:, 1] = 50.0
    out = squeeze(window)
    np.testing.assert_allclose(out[:3], window[:3], rtol=1e-6)  # 0 leaves a channel as it is
    np.testing.assert_allclose(out[3:, 0], 0.25 * 0.0005 / 0.05, rtol=1e-3)
    np.testing.assert_allclose(out[3:, 1], 0.25 * np.log(2 * 50.0 / 0.05), rtol=1e-5)  # asinh y -> log 2y
