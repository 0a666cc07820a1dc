"""A small folder in HIT-UAV's layout, three dates of three pictures, and the shipped recipe of the thermal teacher on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import starter
from edgebind.train.data import thermal
from edgebind.train.data.task import Batch
from edgebind.train.recipe import Edge, Node

SHIPPED = Path(starter.__file__).parent / "recipes" / "thermal-teacher.toml"
DATES = ("20210101", "20210102", "20210103")
BOXES = {
    "Person": [40, 40, 12, 20],
    "Car": [200, 60, 40, 24],
    "Bicycle": [60, 160, 24, 12],
    "OtherVehicle": [180, 180, 60, 24],
}
CONTENTS = (("Person",), ("Car", "Bicycle", "OtherVehicle"), tuple(BOXES))
"""Of the three pictures of each date."""
CATEGORIES = [*BOXES, "DontCare"]


def written() -> dict[str, Any]:
    """What annotations.json holds."""
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for at, (date, content) in enumerate((date, content) for date in DATES for content in CONTENTS):
        images.append({"id": at, "filename": f"{at}.png", "date_captured": date, "night": at % 2})
        for name in content:
            boxes.append({"id": len(boxes), "image_id": at, "category_id": CATEGORIES.index(name), "bbox": BOXES[name]})
    boxes.append(
        {"id": len(boxes), "image_id": 0, "category_id": CATEGORIES.index("DontCare"), "bbox": [200, 200, 9, 9]}
    )
    categories = [{"id": at, "name": name} for at, name in enumerate(CATEGORIES)]
    return {"images": images, "categories": categories, "annotations": boxes}


@dataclass(frozen=True)
class Plan:
    """The shipped recipe's node and edge, on the small folder and with few drawings."""

    node: Node
    edge: Edge

    def task(self, fold: int | None) -> thermal.ThermalTask:
        return thermal.ThermalTask(self.node, self.edge, fold)

    def batch(self, size: int, seed: int = 0, fold: int | None = None) -> Batch:
        return self.task(fold).batch(size, np.random.default_rng(seed))

    def augmented(self, augment: dict[str, Any]) -> Plan:
        return replace(self, node=replace(self.node, augment=augment))

    @property
    def by_size(self) -> Plan:
        """With a preprocessing that says how large a cut is."""
        return replace(self, node=replace(self.node, preprocess={**self.node.preprocess, "resize": "by-size"}))
