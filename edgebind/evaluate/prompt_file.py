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
        found[name] = {one.label: one.texts for one in prompts}
    return found


def reworded(question: Question, texts: Texts) -> Question | None:
    """The question in these words; None where they do not name every one of its classes."""
    known = texts.get(question.modality, {})
    if not all(known.get(label) for label in question.classes):
        return None
    return replace(question, prompts=tuple(known[label] for label in question.classes))
