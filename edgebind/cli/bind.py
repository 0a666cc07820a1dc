"""`edgebind bind`: train a tower into the space from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("bind")
@click.argument("recipe_file", type=click.Path(path_type=Path, dir_okay=False), metavar="RECIPE.toml")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; the same number gives the same weights.")
def command(recipe_file: Path, threads: int | None) -> None:
    """Train the tower of RECIPE.toml against its frozen anchor, and measure it on what the recipe holds out.

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
        raise MissingDependencyError(f"{error.name} is not installed", remedy='pip install "edgebind[train]"') from error
    if threads is not None:
        torch.set_num_threads(threads)
    plan = recipe.read(recipe_file)
    with click.progressbar(length=plan.training.steps, label="binding", show_pos=True, item_show_func=str) as bar:
        report = bind.bind(
            plan, SentenceAnchor().encode, progress=lambda step, _, loss: bar.update(step + 1 - bar.pos, f"loss {loss:.3f}")
        )
    for line in _lines(report):
        click.echo(line)
    click.echo(f"wrote {Path(plan.out) / 'tower.safetensors'}")


def _lines(report: dict[str, Any]) -> list[str]:
    return [
        f"{variant}: {task or 'all'} balanced accuracy {figures['balanced_accuracy']:.3f} over {figures['items']} items"
        for variant, tasks in report["held_out"].items()
        for task, figures in tasks.items()
    ]
