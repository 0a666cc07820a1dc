"""Kinds of values that several commands take."""

from __future__ import annotations

import math
from typing import Any

import click


class Finite(click.FloatRange):
    """A number in a range. click's own lets NaN through, which is neither below nor above anything, and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """One whole number in a range, or several with commas between them: `1,2,4`."""

    name = "numbers"

    def __init__(self, least: int, most: int) -> None:
        self._each = click.IntRange(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts: list[Any] = [part.strip() for part in str(value).split(",")]
        return tuple(dict.fromkeys(self._each.convert(part, param, ctx) for part in parts))
