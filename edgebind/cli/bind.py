"""`edgebind bind`: train towers into the space from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgebind.cli import training


@click.command("bind")
@training.arguments
def command(recipe_file: Path, threads: int | None, folds: tuple[int, ...], device: str) -> None:
    """Train the towers of RECIPE.toml against their anchors, after measuring the recipe on what each fold holds out.

    A run that was stopped goes on where it stood when the command is given again. Several GPUs or machines share the
    chunks of each batch under torchrun.

    \b
    edgebind bind edgebind/starter/recipes/imu-teacher.toml
    edgebind export --checkpoint runs/starter-imu-teacher/tower.safetensors --precision fp32
    torchrun --nproc-per-node 2 -m edgebind bind RECIPE.toml --device cuda
    """
    from edgebind.cli.progress import ProgressLine

    with training.libraries():
        from edgebind.train import bind, launch, recipe
    plan = recipe.read(recipe_file)
    with launch.started(Path(plan.out), recipe_file, device=device, threads=threads) as (where, is_first):
        progress = ProgressLine() if is_first else None
        if folds:
            report = bind.measure_folds(plan, training.numbers(folds), device=where, progress=progress)
        else:
            report = bind.bind(plan, device=where, progress=progress)
    if is_first:
        training.say(_lines(report), plan.out)


def _lines(report: dict[str, Any]) -> list[str]:
    from edgebind.train.bind import headline

    lines = [f"held out {what}: {value:.3f}" for what, value in headline(report).items()]
    for name, figures in report["emergent"].items():
        kind = "share an edge" if figures["share_an_edge"] else "share no edge"
        ways = ", ".join(f"{way} {row['recall@1']:.3f}" for way, row in figures.items() if isinstance(row, dict))
        lines.append(f"{name}, which {kind}: recall@1 {ways}; chance {figures['chance']:.3f}, {figures['pairs']} pairs")
    return lines
