"""What an imagined camera does to a frame: each constant does what it says, and nothing that no such camera could."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import signal

from edgebind.errors import OptionError
from edgebind.train.data import aligned, imu
from edgebind.train.data.geometry import draw_geometry
from edgebind.train.data.picture_augment import PictureAugment
from edgebind.train.recipe import Node

Frame = NDArray[np.uint8]


def _frame(height: int = 40, width: int = 60) -> Frame:
    return np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)


def _seen(frame: Frame, modality: str = "thermal", *, seed: int = 1, side: int = 224, **augment: float) -> Frame:
    node = Node(modality, "any", augment=augment, preprocess={"size": side})
    bend, _ = aligned.bender(node)
    seen: Frame = bend(frame, np.random.default_rng(seed), aligned.ALONE)
    return seen


def test_without_constants_nothing_changes() -> None:
    np.testing.assert_array_equal(_seen(_frame()), _frame())


def test_the_other_polarity_is_the_negative() -> None:
    np.testing.assert_array_equal(_seen(_frame(), invert=1.0), 255 - _frame())
    turned = sum(bool((_seen(_frame(), seed=seed, invert=0.2) != _frame()).any()) for seed in range(200))
    assert 20 < turned < 60


def test_gamma_bends_grey_levels_and_keeps_their_order_and_ends() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(3, axis=0)
    curves = [_seen(ramp, seed=seed, gamma=0.4)[0].astype(int) for seed in range(40)]
    for curve in curves:
        assert curve[0] == 0 and curve[255] == 255
        assert (np.diff(curve) >= 0).all()
        exponent = np.log(curve[128] / 255) / np.log(128 / 255)
        np.testing.assert_allclose(curve, 255 * (np.arange(256) / 255) ** exponent, atol=3)
    middle = [curve[128] for curve in curves]
    assert min(middle) < 110 and max(middle) > 145, "brighter and darker both"


def test_what_stands_before_the_lens_is_one_even_patch() -> None:
    frame, areas = _frame(), []
    for seed in range(20):
        seen = _seen(frame, seed=seed, cutout=1.0)
        rows, columns = np.nonzero(seen != frame)
        patch = seen[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert len(np.unique(patch)) == 1
        assert abs(int(patch[0, 0]) - frame.mean()) < 1
        areas.append(patch.size / frame.size)
    assert min(areas) > 1 / 8**2 * 0.7 and max(areas) <= 1 / 3**2


def test_a_share_of_frames_is_kept_whole() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_geometry(PictureAugment(crop=0.5, whole=0.25), rng) for _ in range(400)]
    whole = sum((one.top, one.bottom, one.left, one.right) == (0, 1, 0, 1) for one in drawn)
    assert 70 < whole < 130


@pytest.mark.parametrize(("modality", "size"), [("thermal", (203, 310)), ("vision", (203, 310))])
def test_frames_far_larger_than_the_tower_s_are_averaged_as_pillow_does(modality: str, size: tuple[int, int]) -> None:
    frame = np.random.default_rng(2).integers(0, 256, (*size, 3) if modality == "vision" else size, dtype=np.uint8)
    seen = _seen(frame, modality, side=32)
    expected = np.asarray(Image.fromarray(frame).reduce(3))[:67, :103]
    np.testing.assert_allclose(seen.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize(
    ("modality", "augment", "wanted"),
    [
        ("vision", {"crop": 1.0}, "0 to below 1"),
        ("thermal", {"flip": 1.5}, "0 to 1"),
        ("thermal", {"noise": -0.1}, "at least 0"),
        ("imu", {"gain": [0.1]}, "three numbers"),
        ("imu", {"rotation_deg": [1.0, 2.0, float("nan")]}, "three numbers"),
        ("imu", {"lost": 2.0}, "0 to 1"),
        ("imu", {"warp": 1.0}, "0 to below 1"),
    ],
)
def test_a_strength_that_cannot_be_is_one_clear_line(modality: str, augment: dict[str, Any], wanted: str) -> None:
    (name,) = augment
    with pytest.raises(OptionError, match=rf"augment\.{name} does not fit .*wanted {wanted}"):
        aligned.bender(Node(modality, "any", augment=augment))


def test_what_no_such_camera_sees_is_refused() -> None:
    with pytest.raises(OptionError, match=r"augment\.invert makes no sense of vision"):
        aligned.bender(Node("vision", "any", augment={"invert": 0.1}))


@pytest.mark.parametrize("name", ["stretch", "boundary_weight"])
def test_what_only_labelled_recordings_know_is_refused_elsewhere(name: str) -> None:
    value = [0.1, 0.1, 0.1] if name == "stretch" else 0.1
    with pytest.raises(OptionError, match=rf"augment\.{name} is of windows cut out of recordings"):
        aligned.bender(Node("imu", "any", augment={name: value}))


def _motion() -> NDArray[np.float64]:
    """(1, 6, 1000): gravity and a shake along x, a slow turn about z."""
    time = np.linspace(0, 5, 1000)
    window = np.zeros((1, 6, 1000))
    window[0, 0], window[0, 2], window[0, 5] = np.sin(2 * np.pi * 2 * time + 1), 9.81, 0.3 + 0.2 * np.cos(time)
    return window


def test_a_warped_movement_turns_as_far_and_stays_in_time_with_what_is_beside_it() -> None:
    for seed in range(10):
        moved = imu.warped(_motion(), 0.2, np.random.default_rng(seed))
        for part in (slice(0, 500), slice(500, 1000)):
            np.testing.assert_allclose(moved[0, 5, part].sum(), _motion()[0, 5, part].sum(), rtol=3e-3)
        np.testing.assert_allclose(moved[0, 2], 9.81)
        crossings = np.flatnonzero(np.diff(np.sign(moved[0, 0])))
        assert len(crossings) == len(np.flatnonzero(np.diff(np.sign(_motion()[0, 0])))), "no shake more, none less"


def test_a_faster_shake_is_stronger_by_the_square() -> None:
    """SciPy's envelope of the shake against its rate: twice as fast would be four times as strong."""
    moved = imu.warped(_motion(), 0.3, np.random.default_rng(3))[0, 0]
    analytic = signal.hilbert(moved)[100:-100]
    rate = np.gradient(np.unwrap(np.angle(analytic))) * 200 / (2 * np.pi)
    assert np.ptp(rate) > 0.5
    np.testing.assert_allclose(np.abs(analytic), (rate / 2) ** 2, atol=0.06)


def test_without_a_warp_no_chance_is_drawn() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(imu.warped(_motion(), 0.0, rng), _motion())
    assert rng.random() == np.random.default_rng(0).random()
