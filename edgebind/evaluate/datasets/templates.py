"""Sentences around a class name. A class is the mean of its sentences' vectors, which is steadier than any one of them."""

from __future__ import annotations

from collections.abc import Sequence

AUDIO = (
    "a sound of {}.",
    "the sound of {}.",
    "a recording of {}.",
    "you can hear {}.",
    "{} in the background.",
)


def filled(templates: Sequence[str], classes: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """For each class its sentences: `("a sound of {}.",)` and `"rain"` -> `("a sound of rain.",)`."""
    return tuple(tuple(template.format(label) for template in templates) for label in classes)
