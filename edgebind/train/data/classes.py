"""Labelled data of any sensor: one folder a class, one file an item.

    sounds/Rain/1-17367-A.ogg        class "Rain"
    sounds/Rooster/1-26806-A.ogg     class "Rooster"

Names of the folders are the labels of `[[edges.prompts]]`. What a camera or an IMU might have seen instead is
`edgebind.train.data.aligned`'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgebind.errors import OptionError, RecordingError
from edgebind.train.data import samples
from edgebind.train.data.aligned import ALONE, bender
from edgebind.train.data.task import Batch, HeldOut, Samples, class_index, require_every_class, shares
from edgebind.train.nodes import NodeTower
from edgebind.train.recipe import Data, Edge

READER = "classes"


@dataclass(frozen=True)
class Item:
    """One labelled file."""

    path: Path
    label: str
    part: int
    """Which of the data's `parts` it belongs to, within its class, in the order of names."""


class ClassesTask:
    """Batches and held-out items of folders by class."""

    def __init__(self, tower: NodeTower, edge: Edge, fold: int | None) -> None:
        self._tower = tower
        self._bend, _ = bender(tower.node)
        self.classes = class_index(edge)
        items = [(item, data.parts > 0 and item.part == fold) for data in edge.data for item in read(data)]
        known = [(item, held) for item, held in items if item.label in self.classes]
        for data in edge.data:
            _require_parts(data, [item.label for item, _ in known if item.path.is_relative_to(data.path)])
        self._held_out = [item for item, held in known if held]
        self._learned = [[i for i, held in known if i.label == label and not held] for label in self.classes]
        require_every_class(np.array([len(group) for group in self._learned]), edge)
        self._shares = shares(edge)
        self._kept = samples.Kept()

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """(size, ...) inputs and (size,) class indices."""
        drawn = self.samples(size, rng)
        return Batch(self._tower.prepare(drawn.items), torch.from_numpy(drawn.kinds), drawn.name)

    def samples(self, size: int, rng: np.random.Generator) -> Samples:
        """(size,) files as another sensor would have seen them."""
        labels = rng.choice(len(self._shares), size, p=self._shares)
        items = [self._learned[label][int(rng.integers(len(self._learned[label])))] for label in labels]
        bent = [self._bend(self._load(item), rng, ALONE) for item in items]
        return Samples(bent, labels, lambda row: str(items[row].path))

    def held_out(self) -> list[HeldOut]:
        """Every item of the part that is held out, as it is."""
        return [HeldOut(self._tower.prepare(held.items).numpy(), held.kinds) for held in self.held_out_samples()]

    def held_out_samples(self) -> list[Samples]:
        if not self._held_out:
            return []
        labels = np.array([self.classes[item.label] for item in self._held_out])
        names = [str(item.path) for item in self._held_out]
        return [Samples([self._as_judged(item) for item in self._held_out], labels, names.__getitem__)]

    def _as_judged(self, item: Item) -> object:
        return samples.as_judged(self._load(item), self._tower.node)

    def _load(self, item: Item) -> object:
        node = self._tower.node
        sample = self._kept.load(item.path, lambda: samples.load_for(node, item.path))
        samples.require_window(sample, node, str(item.path))
        return sample


def _require_parts(data: Data, labels: Sequence[str]) -> None:
    """Refuse more parts than a class has files: in some of them there would be none of it to be judged on."""
    for label, count in Counter(labels).items():
        if count < data.parts:
            raise OptionError(
                f"class {label!r} has fewer files than parts", where=data.path, wanted=data.parts, got=count
            )


def read(data: Data) -> list[Item]:
    """All items below one folder.

    Raises
    ------
    OptionError: another reader, or groups, which folders by class do not have.
    RecordingError: no folder, or none with files.
    """
    if data.reader != READER:
        raise OptionError("unknown reader", where=data.path, wanted=READER, got=repr(data.reader))
    if data.folds:
        raise OptionError("folders by class have no groups", where=data.path, wanted="parts = N", got="folds")
    root = Path(data.path)
    if not root.is_dir():
        raise RecordingError("no such folder", where=root)
    found: list[Item] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        found += [Item(path, folder.name, at * data.parts // len(files)) for at, path in enumerate(files)]
    if not found:
        raise RecordingError("no folder with files in it", where=root, wanted="one folder a class")
    return found
