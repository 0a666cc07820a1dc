"""Labelled aerial thermal images: crops of things, empty ground and whole scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from edgebind import preprocess
from edgebind.errors import OptionError, RecordingError
from edgebind.evaluate.datasets.aerial import Picture, read_hituav
from edgebind.evaluate.datasets.boxes import Rect, expanded, size_of, tiles
from edgebind.preprocess.thermal import ThermalPreprocessor
from edgebind.signals import Floats
from edgebind.train.data.task import Batch, HeldOut, Samples, class_index, read_folder, require_every_class, shares
from edgebind.train.data.thermal_augment import (
    Augment,
    Camera,
    between,
    cut,
    jittered,
    random_rect,
    rotate,
    squeezed,
)
from edgebind.train.data.thermal_drawn import DRAWERS, Drawing
from edgebind.train.recipe import Data, Edge, Node, from_table

Cut = tuple[Image.Image, Rect]
"""What is to be cut out of which picture."""

GROUND = "ground"
SCENES = {
    "scene of people": (True, False),
    "scene of vehicles": (False, True),
    "scene of both": (True, True),
    "empty scene": (False, False),
}
"""Label of a scene -> whether it shows people, whether vehicles."""


class Style(NamedTuple):
    """How held-out boxes are cut."""

    margin: float
    """On each side, in box sizes."""
    square: bool = False
    """Whether the cut is made square."""
    resized: bool = False
    """Whether it is squeezed into the tower's square before it is preprocessed."""


STYLES = {
    "margin 0": Style(0.0),
    "margin 0.25": Style(0.25),
    "margin 0.5": Style(0.5),
    "margin 1": Style(1.0),
    "square": Style(0.0, square=True),
    "square 0.25": Style(0.25, square=True),
    "resized": Style(0.0, resized=True),
    "resized 0.25": Style(0.25, resized=True),
    "resized 0.5": Style(0.5, resized=True),
}

MOST_GROUND = 300
"""Pixels: longest side of a patch of empty ground."""
EMPTY_SCENE = (120.0, 400.0)
"""Pixels: width of an empty scene; hardly a whole frame is empty."""
TRIES = 500
"""Random places to look at before a picture set is said to have no room; in HIT-UAV few searches need 20."""


class ThermalTask:
    """Batches and held-out items of the recipe's images."""

    def __init__(self, node: Node, edge: Edge, fold: int | None) -> None:
        self.edge = edge
        self.augment: Augment = from_table(Augment, node.augment, where="recipe", prefix="augment.")
        self.classes = class_index(edge)
        self._preprocess, self.size = _preprocessor(node)
        pictures = [(data, picture) for data in edge.data for picture in read(data)]
        self._held_out = [picture for data, picture in pictures if picture.date in data.held_out(fold)]
        learned = [picture for data, picture in pictures if picture.date not in data.held_out(fold)]
        self._shares = shares(edge)
        self._pool = _Pool(learned, self)

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """(size, 1, side, side) encoder inputs and (size,) class indices."""
        drawn = self.samples(size, rng)
        inputs = np.stack([self._preprocess(patch) for patch in drawn.items])
        return Batch(torch.from_numpy(inputs), torch.from_numpy(drawn.kinds), drawn.name)

    def samples(self, size: int, rng: np.random.Generator) -> Samples:
        """(side, side) levels of an 8-bit camera as float32, about 0 to 1."""
        names = list(self.classes)
        labels = rng.choice(len(names), size, p=self._shares)
        camera = Camera(self.augment, rng)
        patches = [self._seen(camera, names[at]) for at in labels]
        return Samples(patches, labels, lambda at: f"a cut of {names[labels[at]]!r}")

    def _seen(self, camera: Camera, label: str) -> Floats:
        patch = self._cut(*self._pool.draw(label, camera.rng))
        seen = camera.see(patch, turnable=label not in SCENES, invert=self.augment.invert.get(label, 0.0))
        return squeezed(seen, self.size, self.size) if camera.rng.random() < self.augment.resized else seen

    def _cut(self, image: Image.Image, rect: Rect) -> Floats:
        # Twice the tower's side is all that it could tell from the full resolution, and takes far less time to augment.
        return cut(image, rect, 2 * self.size)

    def held_out(self) -> list[HeldOut]:
        """Every box of the held-out dates in each style, and every picture, whole and in quarters."""
        return [
            HeldOut(np.stack([self._preprocess(patch) for patch in held.items]), held.kinds, held.variant)
            for held in self.held_out_samples()
        ]

    def held_out_samples(self) -> list[Samples]:
        variants = [self._crops(name, style) for name, style in STYLES.items()]
        scenes = [self._views("whole frame", 1), self._views("quarter frame", 2)]
        return [held for held in (*variants, *scenes) if len(held.kinds)]

    def _crops(self, name: str, style: Style) -> Samples:
        items = [(self._crop(p, thing.rect, style), thing.label) for p in self._held_out for thing in p.things]
        return self._items(items, name)

    def _crop(self, picture: Picture, rect: Rect, style: Style) -> Floats:
        patch = self._cut(picture.image, expanded(rect, style.margin, style.square, picture.image.size))
        return squeezed(patch, self.size, self.size) if style.resized else patch

    def _views(self, name: str, parts: int) -> Samples:
        """Every picture cut into `parts` times `parts`."""
        names = {content: label for label, content in SCENES.items()}
        items = [
            (self._cut(p.image, rect), names[p.shows(rect)])
            for p in self._held_out
            for rect in tiles(p.image.size, parts)
        ]
        return self._items(items, name)

    def _items(self, items: list[tuple[Floats, str]], variant: str) -> Samples:
        known = [(patch, self.classes[label]) for patch, label in items if label in self.classes]
        labels = np.array([at for _, at in known], np.int64)
        return Samples([patch for patch, _ in known], labels, lambda at: f"{variant}, item {at}", variant)


class _Pool:
    """All pictures to learn from, and what may be cut out of them for each class."""

    def __init__(self, pictures: Sequence[Picture], task: ThermalTask) -> None:
        self.pictures, self.how = pictures, task.augment
        self._groups = {label: self._by_date(label) for label in task.classes if label not in (GROUND, *SCENES)}
        self._scenes = {label: self._showing(*SCENES[label]) for label in task.classes if label in SCENES}
        self._sizes = [size_of(thing.rect) for picture in pictures for thing in picture.things]
        choices: dict[str, Sequence[object]] = {GROUND: self._sizes, **self._groups, **self._scenes}
        require_every_class(np.array([len(choices[label]) for label in task.classes]), task.edge)
        # Painted once, always the same: a batch depends on its own chance alone.
        chance = np.random.default_rng(0)
        self._drawn = {label: self._drawings(label, chance) for label in self.how.drawn if label in task.classes}

    def draw(self, label: str, rng: np.random.Generator) -> Cut:
        """One random cut of a class.

        Raises
        ------
        RecordingError: no picture has room for one.
        """
        if label == GROUND:
            return self._ground(rng)
        if label in SCENES:
            return self._free_scene(rng) if not any(SCENES[label]) else self._scene(label, rng)
        if label in self._drawn and rng.random() < self.how.drawn[label]:
            return self._painted(self._drawn[label], rng)
        return self._thing(self._groups[label], rng)

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
        contents = [picture.shows(picture.frame) for picture in self.pictures]
        return [p for p, (has, have) in zip(self.pictures, contents, strict=True) if has >= people and have >= vehicles]

    def _drawings(self, label: str, rng: np.random.Generator) -> list[Drawing]:
        """Things painted onto ground of the pictures to learn from."""
        if label not in DRAWERS:
            raise OptionError("cannot be drawn", where="augment.drawn", wanted=", ".join(DRAWERS), got=repr(label))
        drawer = DRAWERS[label]
        drawings = []
        for _ in range(self.how.drawings):
            image, (left, top, _, _) = self._free(drawer.side, drawer.side, rng)
            corner = int(left), int(top)
            ground = image.crop((*corner, corner[0] + drawer.side, corner[1] + drawer.side))
            drawings.append(drawer.draw(ground, rng))
        return drawings

    def _painted(self, drawings: Sequence[Drawing], rng: np.random.Generator) -> Cut:
        drawing = drawings[int(rng.integers(len(drawings)))]
        return self._framed(drawing.image, jittered(drawing.rect, self.how.jitter, rng), self.how.margin(rng), rng)

    def _thing(self, groups: Sequence[Sequence[tuple[Picture, Rect]]], rng: np.random.Generator) -> Cut:
        how = self.how
        weights = np.array([len(group) ** how.date_power for group in groups])
        group = groups[int(rng.choice(len(groups), p=weights / weights.sum()))]
        picture, rect = group[int(rng.integers(len(group)))]
        image, rect, margin = picture.image, jittered(rect, how.jitter, rng), how.margin(rng)
        if rng.random() < how.rotate:
            image, rect = rotate(image, rect, rng.uniform(-how.angle_deg, how.angle_deg), margin)
        return self._framed(image, rect, margin, rng)

    def _framed(self, image: Image.Image, rect: Rect, margin: float, rng: np.random.Generator) -> Cut:
        return image, expanded(rect, margin, bool(rng.random() < self.how.square), image.size)

    def _ground(self, rng: np.random.Generator) -> Cut:
        """Empty ground of the size of some box and its surroundings."""
        width, height = self._sizes[int(rng.integers(len(self._sizes)))]
        stretch = rng.uniform(1.0, 2.5)
        return self._free(min(width * stretch, MOST_GROUND), min(height * stretch, MOST_GROUND), rng)

    def _free_scene(self, rng: np.random.Generator) -> Cut:
        side = between(EMPTY_SCENE, rng)
        return self._free(side, side * rng.uniform(0.7, 1.0), rng)

    def _free(self, width: float, height: float, rng: np.random.Generator) -> Cut:
        """A place of that size that no box touches."""
        for _ in range(TRIES):
            picture = self.pictures[int(rng.integers(len(self.pictures)))]
            if picture.image.width < width or picture.image.height < height:
                continue
            rect = random_rect(width, height, picture.image.size, rng)
            if picture.is_free(rect):
                return picture.image, rect
        raise RecordingError(f"no picture has {width:.0f} x {height:.0f} pixels of empty ground")

    def _scene(self, label: str, rng: np.random.Generator) -> Cut:
        """A whole frame or a part of it that shows just this."""
        pictures = self._scenes[label]
        for _ in range(TRIES):
            picture = pictures[int(rng.integers(len(pictures)))]
            rect = self._view(picture.image.size, rng)
            if picture.shows(rect) == SCENES[label]:
                return picture.image, rect
        raise RecordingError(f"no part of any picture is a {label!r}")

    def _view(self, limit: tuple[int, int], rng: np.random.Generator) -> Rect:
        whole = rng.random() < self.how.whole
        part = 1.0 if whole else between(self.how.part, rng)
        height = min(1.0, part * math.exp(rng.normal(0, 0.08)))  # cameras differ in the ratio of their sides
        return random_rect(limit[0] * part, limit[1] * height, limit, rng)


def read(data: Data) -> list[Picture]:
    """All pictures of one folder in its published layout; see `edgebind.train.data.task.read_folder` for errors."""
    return read_folder(data, READERS, lambda picture: picture.date)


READERS = {"hituav": read_hituav}


def _preprocessor(node: Node) -> tuple[ThermalPreprocessor, int]:
    """The node's preprocessor and the side of what comes out of it.

    Raises
    ------
    OptionError: it is another modality's.
    """
    built = preprocess.build(node.preprocess)
    if not isinstance(built, ThermalPreprocessor):
        raise OptionError("preprocess.kind does not fit the modality", wanted="thermal", got=built.kind)
    return built, built.size
