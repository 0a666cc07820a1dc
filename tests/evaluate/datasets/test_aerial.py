"""HIT-UAV in its published layout: things cut out of whole pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebind.evaluate.datasets import open_dataset
from tests.evaluate.datasets import made

NAMES = ("Person", "Car", "Bicycle", "OtherVehicle", "DontCare")
BOXES = ((0, [40, 40, 12, 20]), (1, [60, 60, 40, 24]), (3, [5, 5, 20, 10]), (4, [0, 0, 9, 9]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    pixels = np.add.outer(np.arange(100), np.arange(120)).astype(np.uint8)  # value = row + column
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    table = {
        "images": [{"id": 3, "filename": "a.png", "date_captured": "20210101", "night": 1}],
        "categories": [{"id": at, "name": name} for at, name in enumerate(NAMES)],
        "annotations": [{"image_id": 3, "category_id": kind, "bbox": box} for kind, box in BOXES],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    return tmp_path


def test_things_are_cut_out_with_a_margin_in_whole_pixels(root: Path) -> None:
    things, sides = open_dataset(f"hituav:{root}").classifications
    for task in (things, sides):
        made.holds_together(task)
        assert task.groups == ("20210101",) * len(task.clips)
    assert things.targets == ((0,), (1,))
    assert things.clips[0].name == "images/a.png#37,35,55,65"
    person = things.clips[0].load()
    assert isinstance(person, np.ndarray)
    assert person.shape == (30, 18)  # 20 x 1.5 high, 12 x 1.5 wide
    assert (person[0, 0], person[-1, -1]) == (37 + 35, 54 + 64)


def test_vehicles_are_one_class_of_several_prompts(root: Path) -> None:
    _, sides = open_dataset(f"hituav@exact:{root}").classifications
    assert sides.targets == ((0,), (1,), (1,))
    assert [len(prompts) for prompts in sides.prompts] == [1, 3]
    truck = sides.clips[2].load()
    assert isinstance(truck, np.ndarray)
    assert truck.shape == (10, 20)


def test_a_clip_goes_through_the_thermal_preprocessor(root: Path) -> None:
    things, _ = open_dataset(f"hituav@wide:{root}").classifications
    made.goes_through(things.clips[0], "thermal")
