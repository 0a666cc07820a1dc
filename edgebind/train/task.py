"""What `edgebind bind` needs to know of a modality's data: batches to learn from, and held-out items to be judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from edgebind.errors import OptionError
from edgebind.signals import Floats
from edgebind.train.recipe import Recipe


@dataclass(frozen=True)
class HeldOut:
    """Preprocessed items that no batch ever shows."""

    inputs: Floats
    """(items, ...) encoder inputs."""
    labels: NDArray[np.int64]
    """(items,) index into the recipe's prompts."""
    variant: str = ""
    """How the items were cut out, where that matters: `margin 0.25`."""


class Task(Protocol):
    """One modality's labelled data."""

    rng: np.random.Generator
    """The only source of chance in `batch`, so that its state can be saved and restored."""

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(size, ...) augmented encoder inputs, and (size,) class indices into the recipe's prompts."""
        ...

    def held_out(self) -> list[HeldOut]:
        """Items of the held-out groups, once for each way of cutting them out; empty when nothing is held out."""
        ...


def open_task(recipe: Recipe, fold: int | None) -> Task:
    """Read the recipe's data; `fold` is held out, or nothing when it is None.

    Raises
    ------
    OptionError: the modality cannot be bound yet, a reader does not exist, or a class has no data.
    RecordingError: data that cannot be read.
    """
    if recipe.modality == "imu":
        from edgebind.train.imu import ImuTask

        return ImuTask(recipe, fold)
    if recipe.modality == "thermal":
        from edgebind.train.thermal import ThermalTask

        return ThermalTask(recipe, fold)
    raise OptionError(
        "no labelled data can be read for this modality yet", wanted="imu or thermal", got=recipe.modality
    )


def shares(recipe: Recipe) -> NDArray[np.float64]:
    """(classes,) probability of drawing each class."""
    weights = np.array([prompts.share for prompts in recipe.prompts])
    return weights / weights.sum()


def class_index(recipe: Recipe) -> Mapping[str, int]:
    """Label in the data -> index into the recipe's prompts."""
    return {prompts.label: at for at, prompts in enumerate(recipe.prompts)}


def require_every_class(counts: NDArray[np.int64], recipe: Recipe) -> None:
    """Refuse to train on data in which a class of the recipe never occurs.

    Raises
    ------
    OptionError: names the first such class.
    """
    for count, prompts in zip(counts, recipe.prompts, strict=True):
        if count == 0:
            raise OptionError(
                f"class {prompts.label!r} has no training data",
                wanted="at least one recording that is not held out",
                remedy="take it out of the recipe, or hold out less",
            )
