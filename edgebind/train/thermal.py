"""Labelled aerial thermal images: crops of things, empty ground and whole scenes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from edgebind import preprocess
from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess.images import read_image
from edgebind.signals import Floats
from edgebind.train.recipe import Data, Recipe, from_table
from edgebind.train.task import HeldOut, class_index, require_every_class, shares
from edgebind.train.thermal_augment import Augment, Camera, rotate

Rect = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

GROUND = "ground"
SCENES = {
    "scene of people": (True, False),
    "scene of vehicles": (False, True),
    "scene of both": (True, True),
    "empty scene": (False, False),
}
"""Label of a scene -> whether it shows people, whether vehicles."""

STYLES = {"margin 0": (0.0, False), "margin 0.25": (0.25, False), "margin 0.5": (0.5, False), "square": (0.25, True)}
"""How held-out boxes are cut: margin on each side in box sizes, and whether the cut is made square."""


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
        inside = {thing.label for thing in self.things if _overlap(thing.rect, rect) >= 0.5 * _area(thing.rect)}
        return "person" in inside, bool(inside - {"person"})

    def is_free(self, rect: Rect) -> bool:
        """Whether no box touches `rect`."""
        return not any(_overlap(box, rect) > 0 for box in (*(thing.rect for thing in self.things), *self.ignored))


class ThermalTask:
    """Batches and held-out items of the recipe's images."""

    def __init__(self, recipe: Recipe, fold: int | None) -> None:
        self.recipe = recipe
        self.rng = np.random.default_rng(recipe.seed)
        self.augment: Augment = from_table(Augment, recipe.augment, where="recipe", prefix="augment.")
        self.classes = class_index(recipe)
        self._preprocess = preprocess.build(recipe.preprocess)
        self.size = int(recipe.preprocess["size"])
        pictures = [(data, picture) for data in recipe.data for picture in read(data)]
        self._held_out = [picture for data, picture in pictures if picture.date in data.held_out(fold)]
        self.pictures = [picture for data, picture in pictures if picture.date not in data.held_out(fold)]
        self._shares = shares(recipe)
        self._groups = [self._by_date(label) for label in self.classes]
        self._scenes = {label: self._showing(*SCENES[label]) for label in self.classes if label in SCENES}
        self._sizes = [_size(thing.rect) for picture in self.pictures for thing in picture.things]
        counts = [sum(map(len, groups)) for groups in self._groups]
        require_every_class(
            np.array([n or label in (GROUND, *SCENES) for n, label in zip(counts, self.classes, strict=True)]), recipe
        )

    def _by_date(self, label: str) -> list[list[tuple[Picture, Rect]]]:
        """Boxes of one class, grouped by date and light."""
        groups: dict[tuple[str, str], list[tuple[Picture, Rect]]] = {}
        for picture in self.pictures:
            for thing in picture.things:
                if thing.label == label:
                    groups.setdefault((picture.date, picture.light), []).append((picture, thing.rect))
        return list(groups.values())

    def _showing(self, people: bool, vehicles: bool) -> list[Picture]:
        """Pictures that may hold such a scene, whole or in part."""
        return [
            p
            for p in self.pictures
            if all(has >= wanted for has, wanted in zip(p.shows(_frame(p)), (people, vehicles), strict=True))
        ]

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """(size, 1, side, side) encoder inputs and (size,) class indices."""
        names = list(self.classes)
        labels = self.rng.choice(len(names), size, p=self._shares)
        camera = Camera(self.augment, self.rng)
        inputs = [
            self._preprocess(camera.see(self._draw(names[at]), turnable=names[at] not in SCENES)) for at in labels
        ]
        return torch.from_numpy(np.stack(inputs)), torch.from_numpy(labels)

    def _draw(self, label: str) -> Floats:
        """(side, side) in [0, 1]: one random cut of a class."""
        if label in SCENES:
            return self._scene(label)
        if label == GROUND:
            return self._ground()
        return self._thing(self._groups[list(self.classes).index(label)])

    def _thing(self, groups: Sequence[Sequence[tuple[Picture, Rect]]]) -> Floats:
        weights = np.array([len(group) ** self.augment.date_power for group in groups])
        group = groups[int(self.rng.choice(len(groups), p=weights / weights.sum()))]
        picture, rect = group[int(self.rng.integers(len(group)))]
        how, rng = self.augment, self.rng
        wide = rng.random() < how.wide
        margin = rng.uniform(0.5, 1.1) if wide else rng.uniform(0, how.margin)
        rect = _jittered(rect, how.jitter, rng)
        if rng.random() < how.rotate:
            angle = rng.uniform(-how.angle_deg, how.angle_deg)
            image, rect = rotate(picture.image, rect, angle, margin)
            return cut(image, expanded(rect, margin, rng.random() < how.square, image.size), self.size)
        return cut(picture.image, expanded(rect, margin, rng.random() < how.square, picture.image.size), self.size)

    def _ground(self) -> Floats:
        while True:
            width, height = self._sizes[int(self.rng.integers(len(self._sizes)))]
            stretch = self.rng.uniform(1.0, 2.5)
            found = self._free(min(width * stretch, 300), min(height * stretch, 300))
            if found is not None:
                return cut(*found, self.size)

    def _free(self, width: float, height: float) -> tuple[Image.Image, Rect] | None:
        """A place of that size that no box touches; None when a few guesses found none."""
        for _ in range(12):
            picture = self.pictures[int(self.rng.integers(len(self.pictures)))]
            rect = _random_rect(width, height, picture.image.size, self.rng)
            if picture.is_free(rect):
                return picture.image, rect
        return None

    def _scene(self, label: str) -> Floats:
        if label == "empty scene":
            return self._empty()
        for _ in range(20):
            pictures = self._scenes[label]
            if not pictures:
                break
            picture = pictures[int(self.rng.integers(len(pictures)))]
            part = 1.0 if self.rng.random() < 0.4 else self.rng.uniform(0.45, 1.0)
            width, height = picture.image.size
            rect = _random_rect(width * part, height * part, picture.image.size, self.rng)
            if picture.shows(rect) == SCENES[label]:
                return cut(picture.image, rect, self.size)
        return self._empty()

    def _empty(self) -> Floats:
        while True:
            side = self.rng.uniform(120, 400)
            found = self._free(side, side * self.rng.uniform(0.7, 1.0))
            if found is not None:
                return cut(*found, self.size)

    def held_out(self) -> list[HeldOut]:
        """Every box of the held-out dates in each style, and every whole picture."""
        variants = [self._crops(name, *style) for name, style in STYLES.items()]
        return [held for held in (*variants, self._whole()) if len(held.labels)]

    def _crops(self, name: str, margin: float, square: bool) -> HeldOut:
        items = [
            (cut(p.image, expanded(thing.rect, margin, square, p.image.size), self.size), self.classes[thing.label])
            for p in self._held_out
            for thing in p.things
            if thing.label in self.classes
        ]
        return self._items(items, name)

    def _whole(self) -> HeldOut:
        names = {content: label for label, content in SCENES.items()}
        items = [
            (cut(p.image, _frame(p), self.size), self.classes[names[p.shows(_frame(p))]])
            for p in self._held_out
            if names[p.shows(_frame(p))] in self.classes
        ]
        return self._items(items, "whole frame")

    def _items(self, items: list[tuple[Floats, int]], variant: str) -> HeldOut:
        inputs = np.stack([self._preprocess(patch) for patch, _ in items]) if items else np.zeros((0,), np.float32)
        return HeldOut(inputs, np.array([label for _, label in items], np.int64), variant)


def cut(image: Image.Image, rect: Rect, size: int) -> Floats:
    """A rectangle of an 8-bit picture, squeezed into (size, size) float32 in [0, 1]."""
    patch = image.resize((size, size), Image.Resampling.BICUBIC, box=rect)
    return np.asarray(patch, np.float32) / 255


def expanded(rect: Rect, margin: float, square: bool, limit: tuple[int, int]) -> Rect:
    """A box with `margin` of its size added on each side, made square if asked, cut off at the picture's edge."""
    left, top, right, bottom = rect
    width, height = max(right - left, 3), max(bottom - top, 3)
    if square:
        width = height = max(width, height)
    x, y = (left + right) / 2, (top + bottom) / 2
    half_width, half_height = width * (0.5 + margin), height * (0.5 + margin)
    return (
        max(0, x - half_width),
        max(0, y - half_height),
        min(limit[0], x + half_width),
        min(limit[1], y + half_height),
    )


def _jittered(rect: Rect, amount: float, rng: np.random.Generator) -> Rect:
    """A box moved and resized a little, as another annotator would have drawn it."""
    width, height = _size(rect)
    x, y = (
        (rect[0] + rect[2]) / 2 + amount * width * rng.normal(),
        (rect[1] + rect[3]) / 2 + amount * height * rng.normal(),
    )
    width, height = width * np.exp(1.6 * amount * rng.normal()), height * np.exp(1.6 * amount * rng.normal())
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _random_rect(width: float, height: float, limit: tuple[int, int], rng: np.random.Generator) -> Rect:
    left, top = rng.uniform(0, limit[0] - width), rng.uniform(0, limit[1] - height)
    return left, top, left + width, top + height


def _frame(picture: Picture) -> Rect:
    return (0, 0, *picture.image.size)


def _size(rect: Rect) -> tuple[float, float]:
    return rect[2] - rect[0], rect[3] - rect[1]


def _area(rect: Rect) -> float:
    width, height = _size(rect)
    return width * height


def _overlap(one: Rect, other: Rect) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def read(data: Data) -> list[Picture]:
    """All images of one folder in its published layout.

    Raises
    ------
    OptionError: there is no reader of that name, or a held-out date that the data does not have.
    RecordingError: the folder holds no images of that layout.
    """
    if data.reader not in READERS:
        raise OptionError("unknown reader", where=data.path, wanted=" or ".join(READERS), got=repr(data.reader))
    found = READERS[data.reader](Path(data.path))
    absent = sorted({name for fold in data.folds for name in fold} - {picture.date for picture in found})
    if absent:
        raise OptionError("a held-out date is not in the data", where=data.path, got=absent[0])
    return found


def _read_hituav(folder: Path) -> list[Picture]:
    """Suo et al. 2023, `normal_json`: images/ and COCO-like annotations.json with boxes as x, y, width, height."""
    annotations = folder / "annotations.json"
    try:
        table = json.loads(annotations.read_text(encoding="utf-8"))
        names = {entry["id"]: _LABELS.get(entry["name"]) for entry in table["categories"]}
        boxes: dict[int, list[tuple[str | None, Rect]]] = {entry["id"]: [] for entry in table["images"]}
        for entry in table["annotations"]:
            left, top, width, height = entry["bbox"]
            boxes[entry["image_id"]].append((names[entry["category_id"]], (left, top, left + width, top + height)))
    except (OSError, ValueError, KeyError) as error:
        raise RecordingError("no readable HIT-UAV annotations", where=annotations, got=error) from error
    return [_picture(folder, entry, boxes[entry["id"]]) for entry in sorted(table["images"], key=_file_name)]


_LABELS = {"Person": "person", "Car": "car", "Bicycle": "bicycle", "OtherVehicle": "truck"}


def _file_name(entry: dict[str, str]) -> str:
    return entry["filename"]


def _picture(folder: Path, entry: dict[str, str], boxes: list[tuple[str | None, Rect]]) -> Picture:
    return Picture(
        Image.fromarray(_grey(read_image(folder / "images" / entry["filename"]))),
        date=entry["date_captured"],
        light="night" if entry["night"] else "day",
        things=tuple(Thing(label, rect) for label, rect in boxes if label is not None),
        ignored=tuple(rect for label, rect in boxes if label is None),
    )


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 2 else pixels[..., 0]


READERS = {"hituav": _read_hituav}
