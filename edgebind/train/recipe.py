"""A recipe: all that decides what `edgebind bind` makes, as one TOML file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from edgebind import modality as modalities
from edgebind.errors import OptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Data:
    """One folder of labelled recordings."""

    reader: str
    """Which published layout it has, see `edgebind.train.data.READERS`."""
    path: str
    """Relative to the current folder."""
    folds: tuple[tuple[str, ...], ...] = ()
    """Groups (people, runs, dates) that are held out together, fold by fold, to measure what the tower makes of strangers."""

    def held_out(self, fold: int | None) -> tuple[str, ...]:
        """The groups that fold `fold` neither trains on nor has ever seen; none when everything is learned."""
        return () if fold is None or fold >= len(self.folds) else self.folds[fold]


@dataclass(frozen=True)
class Prompts:
    """The prompts of one class; the first is the canonical one, which zero-shot labelling uses."""

    label: str
    texts: tuple[str, ...]
    share: float = 1.0
    """How often the class is drawn, relative to the others."""


@dataclass(frozen=True)
class Question:
    """What the vectors are asked when accuracy is measured: which of these groups of classes is it?

    `[["person"], ["car", "bicycle"]]` asks whether something is a person; only items of the named classes are asked about.
    """

    name: str
    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Training:
    """How the weights are found."""

    steps: int
    batch: int
    learning_rate: float
    temperature: float
    weight_decay: float = 0.05
    warmup_steps: int = 50
    betas: tuple[float, ...] = (0.9, 0.95)
    smoothing: float = 0.0
    prompt_weight: float = 0.0
    """Weight of the cross-entropy against the canonical prompts, beside InfoNCE."""
    average: float = 0.99
    """Decay of the moving average of the weights, which is what is kept."""
    clip: float = 1.0
    """Largest norm of a gradient."""


@dataclass(frozen=True)
class Recipe:
    """One tower of one space."""

    space: str
    modality: str
    student: str
    """Name of an architecture in `edgebind.models.students`."""
    seed: int
    out: str
    """Run folder, relative to the current folder."""
    window: dict[str, Any]
    preprocess: dict[str, Any]
    data: tuple[Data, ...]
    prompts: tuple[Prompts, ...]
    questions: tuple[Question, ...]
    training: Training
    augment: dict[str, Any] = field(default_factory=dict)
    """Constants of the modality's augmentation; see its sampler."""
    licence: str = ""
    """Of the weights that come out."""

    @property
    def folds(self) -> int:
        """How many folds there are to measure."""
        return max((len(data.folds) for data in self.data), default=0)


def read(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    OptionError: missing, not TOML, or a key that is missing, unknown or of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"the recipe cannot be read: {error.strerror}", where=path) from error
    except ValueError as error:  # tomllib.TOMLDecodeError, or bytes that are no text
        raise OptionError(f"the recipe is no TOML: {error}", where=path) from error
    recipe: Recipe = from_table(Recipe, table, where=str(path))
    modalities.get(recipe.modality)
    labels = {prompts.label for prompts in recipe.prompts}
    for question in recipe.questions:
        strangers = sorted({label for group in question.groups for label in group} - labels)
        if strangers:
            raise OptionError(f"question {question.name!r} names a class without prompts", where=path, got=strangers[0])
    return recipe


def from_table(kind: type, table: Mapping[str, Any], *, where: str, prefix: str = "") -> Any:
    """Build the dataclass `kind` from a TOML table, key by key and type by type.

    Raises
    ------
    OptionError: a key that is missing, unknown or of the wrong type.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise OptionError(f"unknown key {prefix + unknown[0]!r}", where=where, wanted=", ".join(hints), got=unknown[0])
    optional = {f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING}
    missing = [name for name in hints if name not in table and name not in optional]
    if missing:
        raise OptionError(f"key {prefix + missing[0]!r} is missing", where=where)
    return kind(**{key: _value(hints[key], value, where, prefix + key) for key, value in table.items()})


def _value(hint: Any, value: Any, where: str, key: str) -> Any:
    origin = get_origin(hint)
    if origin is tuple and isinstance(value, list):
        inner = get_args(hint)[0]
        return tuple(_value(inner, item, where, f"{key}[{at}]") for at, item in enumerate(value))
    if isinstance(value, dict) and isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return from_table(hint, value, where=where, prefix=f"{key}.")
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    if origin is dict and isinstance(value, dict):
        return value
    raise OptionError(f"key {key!r} has the wrong type", where=where, wanted=hint, got=type(value).__name__)
