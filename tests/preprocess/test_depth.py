from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from edgebind import preprocess
from edgebind.errors import RecordingError
from edgebind.preprocess import DepthPreprocessor, images
from edgebind.preprocess.depth import fill_nearest, metres_from_millimetres


def test_disparity_by_hand() -> None:
    """0.1 m x 500 px = 50: 1 m is 50 px, 2 m is 25 px; 1 cm and nearer 5000 px, 50 m and farther 1 px."""
    make = DepthPreprocessor(size=2, baseline=0.1, focal=500.0, resize="squash")
    depth = np.array([[1.0, 2.0], [0.001, 80.0]], np.float32)
    np.testing.assert_allclose(make(depth), [[[50, 25], [5000, 1]]], rtol=1e-6)


def test_mean_and_std() -> None:
    make = DepthPreprocessor(size=4, baseline=0.1, focal=500.0, mean=20.0, std=10.0)
    np.testing.assert_allclose(make(np.full((4, 4), 2.0)), np.full((1, 4, 4), 0.5), rtol=1e-6)


def test_infinities_are_too_far_and_too_near() -> None:
    """ROS REP 118."""
    make = DepthPreprocessor(size=2, baseline=0.1, focal=500.0, resize="squash")
    np.testing.assert_allclose(make(np.array([[np.inf, -np.inf], [1.0, 1.0]])), [[[1, 5000], [50, 50]]], rtol=1e-6)
    np.testing.assert_allclose(make(np.full((2, 2), np.inf)), np.ones((1, 2, 2)), rtol=1e-6)


@pytest.mark.parametrize("hole", [0.0, np.nan])
def test_holes_never_become_near(hole: float) -> None:
    depth = np.full((2, 2), 2.0)
    depth[0, 0] = hole
    options = {"size": 2, "baseline": 0.1, "focal": 500.0, "resize": "squash"}
    np.testing.assert_allclose(DepthPreprocessor(**options)(depth), np.full((1, 2, 2), 25.0), rtol=1e-6)  # type: ignore[arg-type]
    far = DepthPreprocessor(**options, holes="far")(depth)  # type: ignore[arg-type]
    np.testing.assert_allclose(far, [[[1, 25], [25, 25]]], rtol=1e-6)


def test_fill_nearest_by_hand() -> None:
    """0 is a hole; the row without a value takes the nearest row's."""
    depth = np.array([[5, 0, 0, 0, 9], [0, 0, 7, 0, 0], [0, 0, 0, 0, 0], [0, 3, 0, 0, 0]], np.float32)
    filled = fill_nearest(depth, depth == 0)
    assert filled.tolist() == [[5, 5, 5, 9, 9], [7] * 5, [7] * 5, [3] * 5]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_fill_nearest_equals_scipy_row_by_row(share: float) -> None:
    rng = np.random.default_rng(1)
    depth = rng.uniform(0.5, 5, (40, 61)).astype(np.float32)
    hole = rng.uniform(size=depth.shape) < share
    filled = fill_nearest(depth, hole)
    for row in np.flatnonzero(~hole.all(axis=1)):
        distance = ndimage.distance_transform_edt(hole[row])
        values = np.flatnonzero(~hole[row])
        for column in np.flatnonzero(hole[row]):
            nearest = values[np.abs(values - column) == round(distance[column])]
            assert filled[row, column] in depth[row, nearest]
    np.testing.assert_array_equal(filled[~hole], depth[~hole])


def test_a_real_room(shared: Path) -> None:
    counts = images.read_image(shared / "data/depth_rgbd/redwood_depth.png")
    output = preprocess.for_imagebind("depth")(metres_from_millimetres(counts))
    assert output.shape == (1, 224, 224)
    nearest = counts[counts > 0].min() / 1000
    assert output.max() <= 0.075 * 518.86 / nearest * 1.001
    assert output.min() >= 0.075 * 518.86 / 50 * 0.999


def test_millimetres_by_hand() -> None:
    output = metres_from_millimetres(np.array([[0, 1, 1500, 65535]], np.uint16))
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, [[0, 0.001, 1.5, 65.535]], rtol=1e-6)
    with pytest.raises(RecordingError, match="whole millimetres"):
        metres_from_millimetres(output)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.full((9, 9), 1500, np.uint16), "metres_from_millimetres"),
        (np.full((9, 9), 1500.0), "say --units depth=mm; in Python, divide by 1000"),
        (np.full((9, 9), -1.0), "negative distance"),
        (np.zeros((9, 9)), "nothing but holes"),
        (np.full((9, 9), np.nan), "nothing but holes"),
        (np.zeros((9, 9, 3)), "wanted (height, width)"),
        (np.zeros((0, 9)), "is empty"),
    ],
)
def test_wrong_frames_get_one_line(frame: np.ndarray, says: str) -> None:
    with pytest.raises(RecordingError) as caught:
        preprocess.for_imagebind("depth")(frame)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
