"""Annotated aerial thermal pictures, and the published layout they come in."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from edgebind.errors import RecordingError
from edgebind.preprocess.images import read_image
from edgebind.train.recipe import Data
from edgebind.train.task import read_folder
from edgebind.train.thermal_augment import Rect, area_of, overlap


@dataclass(frozen=True)
class Thing:
    """One annotated box."""

    label: str
    rect: Rect


@dataclass(frozen=True)
class Picture:
    """One image with its boxes."""

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


def read(data: Data) -> list[Picture]:
    """All images of one folder in its published layout; see `edgebind.train.task.read_folder` for errors."""
    return read_folder(data, READERS, lambda picture: picture.date)


def _read_hituav(folder: Path) -> list[Picture]:
    """Suo et al. 2023, `normal_json`: images/ and COCO-like annotations.json with boxes as x, y, width, height."""
    annotations = folder / "annotations.json"
    try:
        table = json.loads(annotations.read_text(encoding="utf-8"))
        boxes = _boxes(table)
        entries = sorted((_Entry.of(entry) for entry in table["images"]), key=lambda entry: entry.file)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordingError("no readable HIT-UAV annotations", where=annotations, got=repr(error)) from error
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
        Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 0]),
        date=entry.date,
        light=entry.light,
        things=tuple(Thing(label, rect) for label, rect in boxes if label is not None),
        ignored=tuple(rect for label, rect in boxes if label is None),
    )


READERS = {"hituav": _read_hituav}
