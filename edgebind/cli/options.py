"""Options, and kinds of values, that several commands take."""

from __future__ import annotations

import math
from pathlib import Path
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


class Output(click.Path):
    """A file or folder to write. Whether it can be written is found out here, before the work and not after."""

    def __init__(self, *, dir_okay: bool = True, file_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay, file_okay=file_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from edgebind import atomic

        path: Any = super().convert(value, param, ctx)
        atomic.require_place(path)
        return path


def require_other(out: Path | None, *read: str | Path | None) -> None:
    """Refuse to write over what is about to be read: a recording cannot be made again.

    Raises
    ------
    OptionError: `out` is one of the files in `read`, by whatever name.
    """
    from edgebind.errors import OptionError

    if out is None or not out.is_file():
        return
    for path in read:
        if path is not None and Path(path).exists() and out.samefile(path):
            raise OptionError("is read, and would be written over", where=out, remedy="choose another place")


rate = click.option(
    "--rate",
    type=float,
    metavar="HZ",
    help="Samples or frames a second, for recordings without times; of a video the most to take.",
)
units = click.option(
    "--units",
    "units_text",
    metavar="LIST",
    help="Units, such as acc=g,gyro=deg/s,time=ms of a table, or depth=mm, thermal=cK of frames.",
)
