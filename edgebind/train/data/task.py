"""What training needs to know of data: batches to learn from, and held-out items to be judged on.

Task          labelled items of one modality        -> Samples, as a sensor delivers them; Batch, as a tower reads them
EdgeSource    both ends of an edge, whatever it has -> Drawn
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgebind.errors import OptionError, RecordingError
from edgebind.signals import Floats
from edgebind.train.recipe import Data, Edge

Item = TypeVar("Item")


@dataclass(frozen=True)
class HeldOut:
    """Preprocessed items that no batch ever shows."""

    inputs: Floats
    """(items, ...) encoder inputs."""
    labels: NDArray[np.int64]
    """(items,) index into the edge's prompts."""
    variant: str = ""
    """How the items were cut out, where that matters: `margin 0.25`."""


@dataclass(frozen=True)
class Samples:
    """Items in physical units, which any number of towers may preprocess, each for itself."""

    items: Sequence[Any]
    """(6, length) in m/s² and rad/s; a camera's (height, width[, 3]); a sound."""
    kinds: NDArray[np.int64]
    """(items,) index into the edge's prompts; where there are no classes, whatever tells one item from another."""
    name: Callable[[int], str]
    """Row -> where it was cut from, for messages."""
    variant: str = ""
    """Of held-out items, see `HeldOut.variant`."""


@dataclass(frozen=True)
class Batch:
    """Augmented items to learn from."""

    inputs: Tensor
    """(size, ...) encoder inputs."""
    labels: Tensor
    """(size,) index into the edge's prompts."""
    name: Callable[[int], str]
    """Row -> where it was cut from, for messages."""


class Task(Protocol):
    """One modality's labelled data."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Some augmented items; the same state of `rng` gives the same batch, whatever was drawn before."""
        ...

    def held_out(self) -> list[HeldOut]:
        """Items of the held-out groups, once for each way of cutting them out; empty when nothing is held out."""
        ...

    def samples(self, size: int, rng: np.random.Generator) -> Samples:
        """What `batch` makes its inputs of."""
        ...

    def held_out_samples(self) -> list[Samples]:
        """What `held_out` makes its inputs of."""
        ...


@dataclass(frozen=True)
class Drawn:
    """One chunk of an edge."""

    left: Tensor
    """(size, ...) inputs of the edge's first end."""
    right: Tensor
    """(size, ...) inputs of the second."""
    kinds: Tensor
    """(size,) rows of one kind belong together: a class, or the item they were cut from."""
    name: Callable[[int], str]
    """Row -> where it comes from, for messages."""


class EdgeSource(Protocol):
    """The data of one edge."""

    def draw(self, first: int, size: int, rng: np.random.Generator) -> Drawn:
        """Some pairs: a function of these arguments alone.

        Parameters
        ----------
        first: how many pairs the run has drawn before, for sources that go through their records in order.
        """
        ...


def read_folder(
    data: Data, readers: Mapping[str, Callable[[Path], list[Item]]], group_of: Callable[[Item], str]
) -> list[Item]:
    """All items of one folder, by the reader that its recipe names.

    Raises
    ------
    OptionError: there is no reader of that name, or a held-out group that the data does not have.
    RecordingError: the folder holds nothing of that layout.
    """
    if data.reader not in readers:
        raise OptionError("unknown reader", where=data.path, wanted=" or ".join(readers), got=repr(data.reader))
    found = readers[data.reader](Path(data.path))
    if not found:
        raise RecordingError(f"no recordings in the layout {data.reader!r}", where=data.path)
    absent = sorted({name for fold in data.folds for name in fold} - {group_of(item) for item in found})
    if absent:
        raise OptionError("a held-out group is not in the data", where=data.path, got=absent[0])
    return found


def shares(edge: Edge) -> NDArray[np.float64]:
    """(classes,) probability of drawing each class."""
    weights = np.array([prompts.share for prompts in edge.prompts])
    return weights / weights.sum()


def class_index(edge: Edge) -> Mapping[str, int]:
    """Label in the data -> index into the edge's prompts."""
    return {prompts.label: at for at, prompts in enumerate(edge.prompts)}


def require_every_class(counts: NDArray[np.int64], edge: Edge) -> None:
    """Refuse to train on data in which a class of the recipe never occurs.

    Raises
    ------
    OptionError: names the first such class.
    """
    for count, prompts in zip(counts, edge.prompts, strict=True):
        if count == 0:
            raise OptionError(
                f"class {prompts.label!r} has no training data",
                wanted="at least one recording that is not held out",
                remedy="take it out of the recipe, or hold out less",
            )
