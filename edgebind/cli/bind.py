"""`edgebind bind`: train towers into the space from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("bind")
@click.argument("recipe_file", type=click.Path(path_type=Path, dir_okay=False), metavar="RECIPE.toml")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; the same number gives the same weights.")
@click.option("--device", default="cpu", show_default=True, help="Where torch computes: cpu, cuda, cuda:1.")
def command(recipe_file: Path, threads: int | None, device: str) -> None:
    """Train the towers of RECIPE.toml against their anchors, after measuring the recipe on what each fold holds out.

    A run that was stopped goes on where it stood when the command is given again. Several GPUs or machines share the
    chunks of each batch under torchrun.

    \b
    edgebind bind edgebind/starter/recipes/imu-teacher.toml
    edgebind export --checkpoint runs/starter-imu-teacher/tower.safetensors --precision fp32
    torchrun --nproc-per-node 2 -m edgebind bind RECIPE.toml --device cuda
    """
    from edgebind import extras
    from edgebind.cli.progress import ProgressLine
    from edgebind.errors import MissingDependencyError

    try:
        from edgebind.train import bind, launch, recipe
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is not installed", remedy=extras.remedy("train")) from error
    plan = recipe.read(recipe_file)
    with launch.started(Path(plan.out), recipe_file, device=device, threads=threads) as (where, is_first):
        report = bind.bind(plan, device=where, progress=ProgressLine() if is_first else _silent)
    if is_first:
        for line in _lines(report):
            click.echo(line)
        click.echo(f"wrote {plan.out}")


def _silent(stage: str, step: int, steps: int, loss: float) -> None:
    """Process 0 speaks for all."""


def _lines(report: dict[str, Any]) -> list[str]:
    from edgebind.train.bind import headline

    lines = [f"held out {what}: {value:.3f}" for what, value in headline(report).items()]
    for name, figures in report["emergent"].items():
        kind = "share an edge" if figures["share_an_edge"] else "share no edge"
        ways = ", ".join(f"{way} {row['recall@1']:.3f}" for way, row in figures.items() if isinstance(row, dict))
        lines.append(f"{name}, which {kind}: recall@1 {ways}; chance {figures['chance']:.3f}, {figures['pairs']} pairs")
    return lines
