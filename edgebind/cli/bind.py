"""`edgebind bind`: train a tower into the space from a recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


@click.command("bind")
@click.argument("recipe_file", type=click.Path(path_type=Path, dir_okay=False), metavar="RECIPE.toml")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; the same number gives the same weights.")
def command(recipe_file: Path, threads: int | None) -> None:
    """Train the tower of RECIPE.toml against its frozen anchor, after measuring the recipe on what each fold holds out.

    A run that was stopped goes on where it stood when the command is given again.

    \b
    edgebind bind edgebind/starter/recipes/imu.toml
    edgebind export --checkpoint runs/starter-imu/tower.safetensors --precision fp32
    """
    from edgebind.errors import MissingDependencyError

    try:
        import torch

        from edgebind.models.sentences import SentenceAnchor
        from edgebind.train import bind, recipe
    except ImportError as error:
        raise MissingDependencyError(
            f"{error.name} is not installed", remedy='pip install "edgebind[train]"'
        ) from error
    if threads is not None:
        torch.set_num_threads(threads)
    plan = recipe.read(recipe_file)
    report = bind.bind(plan, SentenceAnchor().encode, progress=_show)
    for line in _lines(report):
        click.echo(line)
    click.echo(f"wrote {Path(plan.out) / 'tower.safetensors'}")


def _show(stage: str, step: int, steps: int, loss: float) -> None:
    """A line that is rewritten in a terminal, and now and then a new one in a log."""
    last = step + 1 == steps
    if sys.stderr.isatty():
        click.echo(f"\r{stage}: step {step + 1} of {steps}, loss {loss:.3f} ", err=True, nl=last)
    elif last or step % 100 == 0:
        click.echo(f"{stage}: step {step + 1} of {steps}, loss {loss:.3f}", err=True)


def _lines(report: dict[str, Any]) -> list[str]:
    return [
        f"held out {variant} {task}: balanced accuracy {figures['balanced_accuracy']:.3f} over {figures['items']} items, "
        f"folds {figures['folds']}"
        for variant, tasks in report["held_out"].items()
        for task, figures in tasks.items()
    ]
