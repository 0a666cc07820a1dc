"""HIT-UAV (Suo et al. 2023): what a drone's thermal camera sees, with a box around every person and vehicle.

    root/
      annotations.json    COCO-like: images with date and light, boxes as x, y, width, height (the release's `normal_json`)
      images/             0_60_30_0_00001.jpg, ...

The starter's thermal tower was trained on these pictures: what it makes of them shows that the road is whole, no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Clip, Dataset, stamp_of
from edgebind.evaluate.datasets.boxes import Rect, area_of, expanded, overlap
from edgebind.preprocess.images import read_image

SPLITS = {"quarter": 0.25, "exact": 0.0, "wide": 1.0}
"""Name -> what is left around a box on each side, in box sizes."""
PROMPTS = {
    "person": "a thermal image of a person",
    "car": "a thermal image of a car",
    "bicycle": "a thermal image of a bicycle",
    "truck": "a thermal image of a truck or bus",
}
"""Class -> the starter's own words for it."""
QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "person, car or bicycle": {"person": ("person",), "car": ("car",), "bicycle": ("bicycle",)},
    "person or vehicle": {"person": ("person",), "vehicle": ("car", "bicycle", "truck")},
}
"""What is asked: class -> the annotated things that belong to it."""


def open_hituav(root: Path, split: str = "quarter") -> Dataset:
    """Things cut out of the pictures, and what they are.

    Parameters
    ----------
    split: `quarter` leaves a quarter of the box on each side, `exact` nothing, `wide` a whole box.

    Raises
    ------
    RecordingError: another layout, or a picture is missing.
    """
    pictures = read_hituav(root)
    notes = {
        "split": split,
        "pictures": f"{len(pictures)} on {len({picture.date for picture in pictures})} dates",
        "licence": "CC BY 4.0",
        "training": "the starter's thermal tower was trained on these pictures",
    }
    asked = tuple(_classification(name, pictures, SPLITS[split]) for name in QUESTIONS)
    return Dataset("HIT-UAV", asked, notes=notes)


def _classification(name: str, pictures: Sequence[Picture], margin: float) -> Classification:
    groups = list(QUESTIONS[name].items())
    class_of = {label: at for at, (_, labels) in enumerate(groups) for label in labels}
    found = [(picture, thing) for picture in pictures for thing in picture.things if thing.label in class_of]
    return Classification(
        name=f"HIT-UAV {name}",
        modality="thermal",
        clips=[_clip(picture, thing.rect, margin) for picture, thing in found],
        targets=tuple((class_of[thing.label],) for _, thing in found),
        classes=tuple(label for label, _ in groups),
        words=tuple(tuple(PROMPTS[label] for label in labels) for _, labels in groups),
        groups=tuple(picture.date for picture, _ in found),
    )


def _clip(picture: Picture, rect: Rect, margin: float) -> Clip:
    left, top, right, bottom = expanded(rect, margin, False, picture.image.size)
    box = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    cut = partial(_cut, picture.image, box)
    return Clip(f"images/{picture.file}#{','.join(map(str, box))}", cut, stamp_of(cut().tobytes()))


def _cut(image: Image.Image, box: tuple[int, int, int, int]) -> NDArray[Any]:
    """uint8 (height, width): whole pixels of the sensor, as somebody who cuts things out of a frame would get them."""
    return np.asarray(image.crop(box))


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thing:
    """One annotated box."""

    label: str
    rect: Rect


@dataclass(frozen=True)
class Picture:
    """One image with its boxes."""

    file: str
    """Name in images/."""
    image: Image.Image
    """Mode L."""
    date: str
    """Group that is held out together."""
    light: str
    """Day or night."""
    things: tuple[Thing, ...]
    ignored: tuple[Rect, ...]
    """Boxes whose content nobody could name; neither a thing nor ground."""

    def shows(self, rect: Rect) -> tuple[bool, bool]:
        """Whether people, and whether vehicles, lie at least half inside `rect`."""
        inside = {thing.label for thing in self.things if overlap(thing.rect, rect) >= 0.5 * area_of(thing.rect)}
        return "person" in inside, bool(inside - {"person"})

    @property
    def frame(self) -> Rect:
        """All of it."""
        return (0, 0, *self.image.size)

    def is_free(self, rect: Rect) -> bool:
        """Whether no box touches `rect`."""
        return not any(overlap(box, rect) > 0 for box in (*(thing.rect for thing in self.things), *self.ignored))


def read_hituav(folder: Path) -> list[Picture]:
    """All images with their boxes, in the order of their names.

    Raises
    ------
    RecordingError: annotations that cannot be read, or a picture that is missing or not 8-bit.
    """
    annotations = folder / "annotations.json"
    try:
        table = json.loads(annotations.read_text(encoding="utf-8"))
        boxes = _boxes(table)
        entries = sorted((_Entry.of(entry) for entry in table["images"]), key=lambda entry: entry.file)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordingError(
            "no readable HIT-UAV annotations",
            where=annotations,
            wanted="images, categories and annotations",
            got=repr(error),
        ) from error
    if not entries:
        raise RecordingError("the annotations name no image", where=annotations)
    return [_picture(folder / "images" / entry.file, entry, boxes[entry.id]) for entry in entries]


_LABELS = {"Person": "person", "Car": "car", "Bicycle": "bicycle", "OtherVehicle": "truck"}


class _Entry(NamedTuple):
    """What the annotations say of one image."""

    id: int
    file: str
    date: str
    light: str

    @classmethod
    def of(cls, entry: dict[str, Any]) -> _Entry:
        light = "night" if entry["night"] else "day"
        return cls(entry["id"], str(entry["filename"]), str(entry["date_captured"]), light)


def _boxes(table: dict[str, Any]) -> dict[int, list[tuple[str | None, Rect]]]:
    """Image -> its boxes, by the names that recipes use; None for what nobody could name."""
    names = {entry["id"]: _LABELS.get(entry["name"]) for entry in table["categories"]}
    boxes: dict[int, list[tuple[str | None, Rect]]] = {entry["id"]: [] for entry in table["images"]}
    for entry in table["annotations"]:
        left, top, width, height = map(float, entry["bbox"])
        if not (math.isfinite(left + top) and 0 < width < math.inf and 0 < height < math.inf):
            raise ValueError(f"box {entry['bbox']} has no area")
        boxes[entry["image_id"]].append((names[entry["category_id"]], (left, top, left + width, top + height)))
    return boxes


def _picture(path: Path, entry: _Entry, boxes: list[tuple[str | None, Rect]]) -> Picture:
    pixels = read_image(path)
    if pixels.dtype != np.uint8:
        raise RecordingError("a picture is not 8-bit", where=path, wanted="uint8", got=pixels.dtype)
    return Picture(
        entry.file,
        Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 0]),
        date=entry.date,
        light=entry.light,
        things=tuple(Thing(label, rect) for label, rect in boxes if label is not None),
        ignored=tuple(rect for label, rect in boxes if label is None),
    )
