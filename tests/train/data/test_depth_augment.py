"""What an imagined depth camera does to metres: each constant what it says, and no surface where there was none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgebind import preprocess
from edgebind.errors import OptionError
from edgebind.train.data import aligned, pairs
from edgebind.train.recipe import Node
from tests.train.data.test_pairs import as_it_is

Depth = NDArray[np.float32]
OPTICS = {"kind": "depth", "size": 32, "baseline": 0.05, "focal": 400.0, "far": 20.0}


def _room(height: int = 48, width: int = 64) -> Depth:
    return np.random.default_rng(0).uniform(1, 6, (height, width)).astype(np.float32)


def _seen(depth: Depth, *, seed: int = 1, **augment: float) -> Depth:
    bend, _ = aligned.bender(Node("depth", "depth-s", augment=augment, preprocess=OPTICS))
    before = depth.copy()
    seen: Depth = bend(depth, np.random.default_rng(seed), aligned.ALONE)
    np.testing.assert_array_equal(depth, before, err_msg="what is kept in memory is never changed")
    assert seen.dtype == np.float32
    return seen


def test_without_constants_nothing_changes() -> None:
    room = _room()
    room[3, 4], room[5, 6], room[7, 8] = 0, np.nan, np.inf
    np.testing.assert_array_equal(_seen(room), room)


def test_a_wrong_calibration_scales_every_distance_alike() -> None:
    factors = [np.log(_seen(_room(), seed=seed, scale=0.05) / _room()) for seed in range(200)]
    assert max(factor.std() for factor in factors) < 1e-6
    assert np.std([factor.mean() for factor in factors]) == pytest.approx(0.05, rel=0.15)


def test_noise_is_of_the_disparity_so_that_distances_err_by_their_square() -> None:
    """z = bf / d, so dz = z² / bf x dd: 0.1 pixels at bf = 20 m are 5 mm at 1 m and 8 cm at 4 m."""
    spreads = {
        metres: np.array([_seen(np.full((64, 64), metres, np.float32), seed=s, noise=0.1).std() for s in range(20)])
        for metres in (1.0, 2.0, 4.0)
    }
    np.testing.assert_allclose(spreads[2.0] / spreads[1.0], 4, rtol=0.1)
    np.testing.assert_allclose(spreads[4.0] / spreads[1.0], 16, rtol=0.1)
    assert 0.004 < spreads[1.0].max() <= 0.0055, "the largest standard deviation is drawn from 0 to it"


def test_noise_never_makes_a_distance_negative_or_farther_than_the_camera_sees() -> None:
    far = np.full((64, 64), 19.0, np.float32)
    far[0, 0], far[0, 1], far[0, 2], far[0, 3] = 0, np.nan, np.inf, 30.0
    for seed in range(10):
        seen = _seen(far, seed=seed, noise=2.0)
        assert seen[0, 0] == 0 and np.isnan(seen[0, 1]) and seen[0, 2] == np.inf and seen[0, 3] == 30
        assert seen[1:].min() > 0 and seen[1:].max() <= 20.001


def test_a_node_without_constants_has_those_of_its_kind() -> None:
    """As of a checkpoint that brings its own preprocessing; a distillation adds how fine the frames are drawn."""
    room, bent = _room(), []
    for known in ({}, {"size": 224}, {"kind": "depth", "size": 224}):
        bend, _ = aligned.bender(Node("depth", "depth-s", augment={"noise": 0.1}, preprocess=known))
        bent.append(bend(room, np.random.default_rng(1), aligned.ALONE))
    assert not np.array_equal(bent[0], room)
    np.testing.assert_array_equal(bent[1], bent[0])
    np.testing.assert_array_equal(bent[2], bent[0])


def test_holes_are_a_patch_or_single_pixels_without_distance() -> None:
    areas, shares = [], []
    for seed in range(30):
        lost = _seen(_room(), seed=seed, holes=1.0) == 0
        rows, columns = np.nonzero(lost)
        assert lost[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        areas.append(lost.mean())
        dots = _seen(_room(), seed=seed, speckle=0.3)
        shares.append((dots == 0).mean())
        np.testing.assert_array_equal(dots[dots != 0], _room()[dots != 0])
    assert min(areas) > 1 / 8**2 * 0.8 and max(areas) <= 1 / 3**2
    assert min(shares) < 0.05 and 0.2 < max(shares) < 0.35
    assert 20 < sum(bool((_seen(_room(), seed=seed, holes=0.2) == 0).any()) for seed in range(200)) < 60


def test_a_frame_never_loses_its_last_distance() -> None:
    frame = np.zeros((9, 9), np.float32)
    frame[4, 4] = 2
    for seed in range(40):
        assert _seen(frame, seed=seed, speckle=0.9, holes=1.0)[4, 4] == 2


def test_a_large_frame_is_thinned_out_and_never_averaged() -> None:
    edge = np.full((200, 300), 4, np.float32)
    edge[:, ::3], edge[1::2] = 0, 1
    seen = _seen(edge)
    assert seen.shape == (67, 100)
    assert set(np.unique(seen)) <= {0, 1, 4}
    assert preprocess.build(OPTICS)(seen).shape == (1, 32, 32)


@pytest.mark.parametrize("first", ["depth", "vision"])
def test_depth_and_picture_look_at_the_same_part(first: str) -> None:
    how = {"crop": 0.6, "flip": 0.5}
    towers = {
        "depth": as_it_is("depth", Node("depth", "depth-s", augment=how, preprocess=OPTICS)),
        "vision": as_it_is("vision", Node("vision", "vision-s", augment=how)),
    }
    second = "vision" if first == "depth" else "depth"
    ends = pairs._Ends(towers[first], towers[second])
    picture = np.random.default_rng(0).integers(1, 200, (40, 60), dtype=np.uint8)
    samples = {"depth": picture.astype(np.float32) / 10, "vision": np.repeat(picture[..., None], 3, axis=2)}
    rng, shapes = np.random.default_rng(0), set()
    for _ in range(20):
        seen = dict(zip((first, second), ends.bent((samples[first], samples[second]), rng), strict=True))
        np.testing.assert_allclose(seen["depth"] * 10, seen["vision"][..., 0], atol=1e-4)
        shapes.add(seen["depth"].shape)
    assert len(shapes) > 8


def test_a_pair_whose_second_camera_asks_for_other_cuts_is_one_clear_line() -> None:
    depth = as_it_is("depth", Node("depth", "depth-s", augment={"crop": 0.2}, preprocess=OPTICS))
    vision = as_it_is("vision", Node("vision", "vision-s", augment={"crop": 0.4, "flip": 0.5}))
    with pytest.raises(
        OptionError, match=r"cropped and mirrored alike \(wanted crop = 0.2, flip = 0, .*got 0.4, 0.5, 0"
    ):
        pairs._Ends(depth, vision)
    pairs._Ends(depth, as_it_is("vision", Node("vision", "vision-s", augment={"gain": 0.1})))


@pytest.mark.parametrize(
    ("augment", "says"),
    [
        ({"gamma": 0.1}, r"unknown key 'augment\.gamma' \(wanted crop, flip, whole, scale, noise, speckle, holes"),
        ({"scale": -0.1}, r"augment\.scale does not fit .*at least 0"),
        ({"speckle": 1.0}, r"augment\.speckle does not fit .*0 to below 1"),
        ({"holes": 1.5}, r"augment\.holes does not fit .*0 to 1"),
    ],
)
def test_a_depth_camera_that_cannot_be_is_one_clear_line(augment: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        aligned.bender(Node("depth", "depth-s", augment=augment, preprocess=OPTICS))
    assert "\n" not in str(caught.value)
