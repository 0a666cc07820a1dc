"""What `edgebind bind` and `edgebind distil` share at the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def arguments(command: Command) -> Command:
    """The recipe, and how it is run."""
    for decorate in (
        click.option("--device", default="cpu", show_default=True, help="Where torch computes: cpu, cuda, cuda:1."),
        click.option(
            "--fold",
            "folds",
            type=click.IntRange(1),
            multiple=True,
            help="Only measure this fold, and learn nothing from everything; may be repeated.",
        ),
        click.option(
            "--threads", type=click.IntRange(1, 256), help="CPU threads; the same number gives the same weights."
        ),
        click.argument("recipe_file", type=click.Path(path_type=Path, dir_okay=False), metavar="RECIPE.toml"),
    ):
        command = decorate(command)
    return command


@contextlib.contextmanager
def libraries() -> Iterator[None]:
    """Imports that need what `pip install "edgebind[train]"` brings.

    Raises
    ------
    MissingDependencyError: one of them is not installed.
    """
    from edgebind import extras
    from edgebind.errors import MissingDependencyError

    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is not installed", remedy=extras.remedy("train")) from error


def numbers(folds: Sequence[int]) -> list[int]:
    """Folds as the user counts them, from 1 -> as the library does, from 0, each once."""
    return sorted({fold - 1 for fold in folds})


def say(lines: Sequence[str], out: str) -> None:
    """What the run has found, and where it lies."""
    for line in lines:
        click.echo(line)
    click.echo(f"wrote {out}")
