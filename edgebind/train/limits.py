"""Numbers of a recipe that can make no sense are refused before anything is computed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from edgebind.errors import OptionError


def at_least(key: str, value: float, least: float) -> None:
    """Refuse what is less than `least`, endless or no number.

    Raises
    ------
    OptionError: names the key of the recipe.
    """
    if not least <= value < math.inf:
        raise OptionError(f"{key} does not fit", wanted=f"at least {least:g}", got=value)


def above(key: str, value: float, bound: float) -> None:
    """Likewise what is not above `bound`."""
    if not bound < value < math.inf:
        raise OptionError(f"{key} does not fit", wanted=f"above {bound:g}", got=value)


def share(key: str, value: float, *, whole: bool = True) -> None:
    """Likewise what is no part of one; `whole`: all of it may be."""
    if not (0 <= value < 1 or (whole and value == 1)):
        raise OptionError(f"{key} does not fit", wanted="0 to 1" if whole else "0 to below 1", got=value)


def named(key: str, value: str) -> None:
    """Likewise a folder without a name, which would be the current one."""
    if not value.strip():
        raise OptionError(f"{key} names no folder", wanted="a folder of the run's own", got=repr(value))


def classes(labels: Sequence[str]) -> None:
    """Likewise one class alone, and one that stands twice; none is no fault."""
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise OptionError(f"class {twice[0]!r} has prompts twice", wanted="all its texts in one place")
    if len(labels) == 1:
        got = f"{labels[0]!r} alone"
        raise OptionError("one class is nothing to tell apart", wanted="prompts for at least two", got=got)
