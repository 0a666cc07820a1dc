"""`edgebind distil`: a small tower learns what a large one knows."""

from __future__ import annotations

from pathlib import Path

import click

from edgebind.cli import training


@click.command("distil")
@training.arguments
def command(recipe_file: Path, threads: int | None, folds: tuple[int, ...], device: str) -> None:
    """Teach the student of RECIPE.toml what its teacher says, after measuring both on what each fold holds out.

    The teacher's vectors are computed once and kept. A run that was stopped goes on where it stood when the command is
    given again. Several GPUs or machines share the chunks of each batch under torchrun.

    \b
    edgebind distil RECIPE.toml
    edgebind export --checkpoint runs/RUN/tower.safetensors --precision int8 --calibration recordings/
    torchrun --nproc-per-node 2 -m edgebind distil RECIPE.toml --device cuda
    """
    from edgebind.cli.progress import ProgressLine

    with training.libraries():
        from edgebind.train import distil, distil_recipe, distil_report, launch
    plan = distil_recipe.read(recipe_file)
    with launch.started(Path(plan.out), recipe_file, device=device, threads=threads) as (where, is_first):
        progress = ProgressLine() if is_first else None
        if folds:
            report = distil.measure_folds(plan, training.numbers(folds), device=where, progress=progress)
        else:
            report = distil.distil(plan, device=where, progress=progress)
    if is_first:
        training.say(distil_report.table(report), plan.out)
