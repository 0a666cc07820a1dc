"""How things are cut out of a thermal picture, worked by hand, and what other cameras would have made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind.errors import OptionError
from edgebind.evaluate.datasets import boxes
from edgebind.evaluate.datasets.aerial import Picture, Thing
from edgebind.signals import Floats
from edgebind.train.data import thermal_augment
from tests.train.data.aerial import Plan


def _picture(*things: Thing, ignored: tuple[boxes.Rect, ...] = ()) -> Picture:
    return Picture("1.png", Image.new("L", (100, 80)), "20210101", "day", things, ignored)


@pytest.mark.parametrize(
    ("margin", "square", "wanted"),
    [
        (0.0, False, (40, 30, 50, 50)),
        (0.5, False, (35, 20, 55, 60)),  # half of 10 x 20 on each side
        (0.0, True, (35, 30, 55, 50)),  # 20 x 20 about (45, 40)
        (2.0, False, (20, 0, 70, 80)),  # 20 - 50 and 40 + 50 lie beyond the picture's 100 x 80
    ],
)
def test_a_box_is_expanded_and_cut_off_at_the_edge(margin: float, square: bool, wanted: boxes.Rect) -> None:
    assert boxes.expanded((40, 30, 50, 50), margin, square, (100, 80)) == pytest.approx(wanted)


def test_a_box_of_a_pixel_is_cut_as_three() -> None:
    assert boxes.expanded((10, 10, 11, 11), 0.0, False, (100, 80)) == (9, 9, 12, 12)


def test_no_turn_leaves_the_box_where_it_was() -> None:
    pixels = np.arange(80 * 100, dtype=np.uint32).reshape(80, 100).astype(np.uint8)
    image, box = thermal_augment.rotate(Image.fromarray(pixels), (40, 30, 50, 50), 0.0, margin=0.0)
    # The longer side of 20 asks for ceil(20 * 0.5 * 1.5) + 3 = 18 pixels about (45, 40).
    assert image.size == (36, 36)
    assert box == pytest.approx((13, 8, 23, 28))
    np.testing.assert_array_equal(np.asarray(image), pixels[22:58, 27:63])


def test_a_quarter_turn_exchanges_the_sides_as_far_as_things_fill_their_corners() -> None:
    _, box = thermal_augment.rotate(Image.new("L", (100, 80)), (40, 30, 50, 50), 90.0, margin=0.0)
    assert boxes.size_of(box) == pytest.approx((0.6 * 20, 0.6 * 10))


def test_a_turn_at_the_edge_repeats_the_edge() -> None:
    image, _ = thermal_augment.rotate(Image.new("L", (100, 80), 77), (0, 0, 10, 20), 0.0, margin=1.0)
    assert np.unique(np.asarray(image)).tolist() == [77]


def test_tiles_cover_a_picture() -> None:
    assert boxes.tiles((100, 80), 1) == [(0, 0, 100, 80)]
    assert boxes.tiles((100, 80), 2) == [(0, 0, 50, 40), (50, 0, 100, 40), (0, 40, 50, 80), (50, 40, 100, 80)]


def test_a_scene_shows_what_lies_half_inside_it() -> None:
    #   0        10        20        30
    #   |        person    |                 half of it lies left of 15
    #   |                  car       |       less than half of it lies left of 24
    picture = _picture(Thing("person", (10, 0, 20, 10)), Thing("car", (20, 0, 30, 10)))
    assert picture.shows((0, 0, 14, 80)) == (False, False)
    assert picture.shows((0, 0, 15, 80)) == (True, False)
    assert picture.shows((0, 0, 24, 80)) == (True, False)
    assert picture.shows((0, 0, 25, 80)) == (True, True)
    assert picture.shows((16, 0, 40, 80)) == (False, True)


def test_a_place_is_free_until_a_box_reaches_into_it() -> None:
    picture = _picture(Thing("person", (10, 10, 20, 20)), ignored=((40, 40, 50, 50),))
    assert picture.is_free((20, 10, 40, 40)), "edges may touch"
    assert not picture.is_free((19, 10, 40, 40))
    assert not picture.is_free((30, 30, 41, 41)), "what nobody could name is no empty ground"
    assert not picture.is_free((12, 12, 13, 13)), "inside a box"


QUIET = thermal_augment.Augment(
    quarter_turn=0,
    upside_down=0,
    blur=0,
    low_resolution=0,
    gamma=0,
    saturate=0,
    gradient=0,
    noise=0,
    dead_pixels=0,
    cutout=0,
    resized=0,
)


def test_warm_becomes_cold_where_the_recipe_says_so() -> None:
    patch = np.full((8, 6), 0.2, np.float32)
    patch[3:5, 3:5] = 0.9
    camera = thermal_augment.Camera(QUIET, np.random.default_rng(0))
    as_it_is = camera.see(patch, turnable=False, invert=0.0)
    inverted = camera.see(patch, turnable=False, invert=1.0)
    assert as_it_is[4, 4] > as_it_is[0, 0]
    assert inverted[4, 4] < inverted[0, 0]


@pytest.mark.parametrize("damage", [{"blur": 1}, {"low_resolution": 1}, {"noise": 1}, {"cutout": 1}, {"gradient": 1}])
def test_every_damage_keeps_the_shape_and_changes_something(damage: dict[str, Any]) -> None:
    patch = np.random.default_rng(1).random((13, 9), np.float32)
    plain, damaged = (
        thermal_augment.Camera(how, np.random.default_rng(0)).see(patch, turnable=False)
        for how in (QUIET, replace(QUIET, **damage))
    )
    assert damaged.shape == (13, 9)
    assert not np.allclose(damaged, plain, atol=1e-3)


def test_a_cut_keeps_the_pixels_of_the_sensor() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8))
    np.testing.assert_array_equal(
        thermal_augment.cut(image, (10, 20, 40, 35), 64), np.asarray(image, np.float32)[20:35, 10:40] / np.float32(255)
    )
    assert thermal_augment.cut(image, (0, 0, 80, 60), 40).shape == (30, 40)


def test_what_somebody_has_squeezed_no_longer_says_its_size(plan: Plan) -> None:
    """A person is 12 x 20 pixels here, and fills under half of the square unless it was squeezed."""
    task = plan.by_size.task(0)
    held = {held.variant: held for held in task.held_out()}
    kept, squeezed = (_area(held[name].inputs[:1])[0] for name in ("margin 0", "resized"))
    assert kept == 29 * 17  # 64 * sqrt(20 / 96), and 12 / 20 of that
    assert squeezed == 52 * 52  # 64 * sqrt(64 / 96)


def test_the_recipe_says_how_often_cuts_are_squeezed(plan: Plan) -> None:
    always, never = (plan.by_size.augmented({"resized": share}).batch(64).inputs for share in (1, 0))
    assert set(_area(always.numpy())) == {52 * 52}
    assert len(set(_area(never.numpy()))) > 20


def _area(inputs: Floats) -> list[int]:
    """Pixels of each square's rectangle that is not its mean."""
    shown = np.abs(inputs[:, 0]) > 1e-4
    return [int(picture.any(axis=0).sum() * picture.any(axis=1).sum()) for picture in shown]


@pytest.mark.parametrize(
    ("augment", "says"),
    [
        ({"gamma": -0.1}, r"augment\.gamma does not fit .*at least 0"),
        ({"dead_pixels": 3.0}, r"augment\.dead_pixels does not fit .*0 to 1"),
        ({"part": (0.5, 1.5)}, r"key 'augment\.part' is no part"),
    ],
)
def test_a_damage_that_cannot_be_is_one_clear_line(augment: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        thermal_augment.Augment(**augment)
