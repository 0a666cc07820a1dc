"""Numbers of a recipe that can make no sense are refused before anything is computed."""

from __future__ import annotations

import math

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
