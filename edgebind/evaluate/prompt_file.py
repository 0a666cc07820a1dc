"""Other words for a data set's classes, from TOML files: what a user would say is not always what a tower has learned.

    [[imu]]                                                  prompts: whole sentences, class by class
    label = "WALKING"
    texts = ["somebody goes for a stroll", "steps, one after another"]

    vision = ["a photo of a {}.", "itap of a {}."]           templates: around the names that the data set gives

The table has the sensor's name; a class is the mean of its texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgebind import modality as modalities
from edgebind.errors import OptionError
from edgebind.evaluate.dataset import SENTENCES, Classification, Recordings
from edgebind.prompts import in_templates
from edgebind.train.recipe import Prompts, from_table, read_toml

Question = Classification | Recordings
Texts = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Modality -> class -> its texts."""
Templates = Mapping[str, tuple[str, ...]]
"""Modality -> sentences with `{}` in the place of a name."""


def read(path: Path) -> Texts:
    """All texts of a file.

    Raises
    ------
    OptionError: missing, no TOML, no such sensor, an entry without label or texts, or a label twice.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, entries in _by_sensor(path, "the file of prompts"):
        if not (isinstance(entries, list) and all(isinstance(one, dict) for one in entries)):
            raise OptionError(f"key {name!r} has the wrong type", where=path, wanted=f"[[{name}]] for each class")
        prompts: list[Prompts] = [from_table(Prompts, one, where=str(path), prefix=f"{name}.") for one in entries]
        found[name] = {one.label: one.phrasings() for one in prompts}
        if len(found[name]) < len(prompts):
            raise OptionError("a label stands twice", where=path, wanted=f"one [[{name}]] for each class")
    return found


def _by_sensor(path: Path, what: str) -> Iterator[tuple[str, Any]]:
    for name, value in read_toml(path, what).items():
        try:
            modalities.get(name)
        except OptionError as error:
            raise error.at(path) from error
        yield name, value


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


def read_templates(path: Path) -> Templates:
    """All templates of a file, sensor by sensor.

    Raises
    ------
    OptionError: missing, no TOML, no such sensor, not a list of texts, or a text without the one place for a name.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, texts in _by_sensor(path, "the file of templates"):
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)):
            wanted = f'{name} = ["a photo of a {{}}.", ...]'
            raise OptionError(f"key {name!r} is no list of templates", where=path, wanted=wanted)
        try:
            in_templates((), texts)
        except OptionError as error:
            raise error.at(path) from error
        found[name] = tuple(dict.fromkeys(texts))
    if not found:
        raise OptionError("no templates", where=path, wanted='vision = ["a photo of a {}.", ...]')
    return found


def reworded(question: Question, texts: Texts) -> Question | None:
    """The question in these words; None where they do not name every one of its classes."""
    known = texts.get(question.modality, {})
    if not all(known.get(label) for label in question.classes):
        return None
    words = tuple(known[label] for label in question.classes)
    if isinstance(question, Classification):
        return replace(question, words=words, templates=SENTENCES, by_nearest=False)
    return replace(question, prompts=words)


def retemplated(question: Question, templates: Templates) -> Question | None:
    """The question with its names in these templates, as it is where there are none for its sensor; None where it has no names."""
    if question.modality not in templates:
        return question
    if not isinstance(question, Classification) or question.templates == SENTENCES:
        return None
    return replace(question, templates=templates[question.modality])
