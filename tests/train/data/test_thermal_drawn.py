"""Things that are drawn into thermal pictures lie where their boxes say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind.errors import OptionError
from edgebind.train.data import thermal_drawn
from tests.train.data.aerial import Plan


@pytest.mark.parametrize("label", list(thermal_drawn.DRAWERS))
def test_what_is_drawn_lies_in_its_box(label: str) -> None:
    drawer = thermal_drawn.DRAWERS[label]
    ground = Image.new("L", (drawer.side, drawer.side), 128)
    inside, outside, drawn = [], [], 0
    for seed in range(20):
        drawing = drawer.draw(ground, np.random.default_rng(seed))
        changed = np.abs(np.asarray(drawing.image, np.float32) - 128)
        left, top, right, bottom = (min(drawer.side, max(0, round(edge))) for edge in drawing.rect)
        box = np.zeros(changed.shape, bool)
        box[top:bottom, left:right] = True
        assert 20 <= box.sum() < changed.size / 2
        inside.append(changed[box].mean())
        outside.append(changed[~box].mean())
        drawn += changed[box].max() > 15
    # Neighbours and half of the shadows lie outside, so each box is denser, and not the only place that changed.
    assert drawn >= 18
    assert np.mean(inside) > 4 * np.mean(outside)


def test_a_lone_vehicle_fills_its_box_and_nothing_else() -> None:
    canvas, pose = thermal_drawn.Canvas(40), thermal_drawn.Pose(20, 20, math.pi / 2)
    vehicle = thermal_drawn._Vehicle(length=20, half=5, tone=1.0)
    vehicle.panel(canvas, pose, (-1, 1), 1, vehicle.tone)
    ground = Image.new("L", (40, 40), 100)
    image = canvas.onto(ground, depth=50, blur=0.01, ragged=(1, 1), rng=np.random.default_rng(0))
    rows, columns = np.nonzero(np.asarray(image) > 110)
    # It stands upright: 20 long down the picture, 10 wide, and the box has one more pixel on each side.
    assert vehicle.rect(pose) == pytest.approx((14, 9, 26, 31))
    assert (rows.min(), rows.max()) == (10, 30)  # Pillow includes the last corner
    assert (columns.min(), columns.max()) == (15, 25)
    assert np.asarray(image)[20, 20] == 150


def test_what_nobody_can_draw_is_one_clear_line(plan: Plan) -> None:
    with pytest.raises(OptionError, match=r"augment\.drawn: cannot be drawn .*'ground'"):
        plan.augmented({"drawn": {"ground": 0.5}}).task(None)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"tight": [0.1]}, r"augment\.tight"),
        ({"wide": [0.9, 0.1]}, r"augment\.wide"),
        ({"drawn": {"car": 2}}, r"augment\.drawn\.car"),
        ({"invert": {"car": "often"}}, r"augment\.invert\.car"),
        ({"drawings": 0}, r"augment\.drawings"),
        ({"colour": 1}, r"unknown key 'augment\.colour'"),
    ],
)
def test_a_wrong_augmentation_is_one_clear_line(plan: Plan, augment: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        plan.augmented(augment).task(None)
