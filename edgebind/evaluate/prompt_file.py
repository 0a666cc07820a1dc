"""Other words for a data set's classes, from a TOML file: what a user would say is not always what a tower has learned.

    [[imu]]
    label = "WALKING"
    texts = ["somebody goes for a stroll", "steps, one after another"]

The table has the sensor's name; a class is the mean of its texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgebind import modality as modalities
from edgebind.errors import OptionError
from edgebind.evaluate.dataset import Classification, Recordings
from edgebind.train.recipe import Prompts, from_table, read_toml

Question = Classification | Recordings
Texts = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Modality -> class -> its texts."""


def read(path: Path) -> Texts:
    """All texts of a file.

    Raises
    ------
    OptionError: missing, no TOML, no such sensor, or an entry without label or texts.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, entries in read_toml(path, "the file of prompts").items():
        modalities.get(name)
        if not isinstance(entries, list):
            raise OptionError(f"key {name!r} has the wrong type", where=path, wanted=f"[[{name}]] for each class")
        prompts: list[Prompts] = [from_table(Prompts, one, where=str(path), prefix=f"{name}.") for one in entries]
        found[name] = {one.label: one.phrasings() for one in prompts}
    return found


def read_one(path: Path, modality: str | None) -> Mapping[str, tuple[str, ...]]:
    """The classes of one sensor and their texts: those of `modality`, or of the only sensor in the file.

    Raises
    ------
    OptionError: as `read`; or the file has none of that sensor, or several and nobody says which.
    """
    found = read(path)
    if modality is None and len(found) != 1:
        remedy = "name the bundle that they are for with --bundle"
        raise OptionError("prompts of several sensors", where=path, got=", ".join(found), remedy=remedy)
    chosen = modality or next(iter(found))
    if chosen not in found:
        raise OptionError("no prompts for this sensor", where=path, wanted=f"[[{chosen}]]", got=", ".join(found))
    return found[chosen]


def reworded(question: Question, texts: Texts) -> Question | None:
    """The question in these words; None where they do not name every one of its classes."""
    known = texts.get(question.modality, {})
    if not all(known.get(label) for label in question.classes):
        return None
    prompts = tuple(known[label] for label in question.classes)
    if isinstance(question, Classification):
        return replace(question, prompts=prompts, names=())
    return replace(question, prompts=prompts)
