"""`edgebind distil`: a small tower learns what a large one knows."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("distil")
@click.argument("recipe_file", type=click.Path(path_type=Path, dir_okay=False), metavar="RECIPE.toml")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; the same number gives the same weights.")
@click.option(
    "--fold",
    "folds",
    type=click.IntRange(1),
    multiple=True,
    help="Only measure this fold, and make no tower; repeatable.",
)
@click.option("--device", default="cpu", show_default=True, help="Where torch computes: cpu, cuda, cuda:1.")
def command(recipe_file: Path, threads: int | None, folds: tuple[int, ...], device: str) -> None:
    """Teach the student of RECIPE.toml what its teacher says, after measuring both on what each fold holds out.

    The teacher's vectors are computed once and kept. A run that was stopped goes on where it stood when the command is
    given again. Several GPUs or machines share the chunks of each batch under torchrun.

    \b
    edgebind distil RECIPE.toml
    edgebind export --checkpoint runs/RUN/tower.safetensors --precision int8 --calibration recordings/
    torchrun --nproc-per-node 2 -m edgebind distil RECIPE.toml --device cuda
    """
    from edgebind import extras
    from edgebind.cli.progress import ProgressLine
    from edgebind.errors import MissingDependencyError

    try:
        from edgebind.train import distil, distil_recipe, distil_report, launch
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is not installed", remedy=extras.remedy("train")) from error
    plan = distil_recipe.read(recipe_file)
    with launch.started(Path(plan.out), recipe_file, device=device, threads=threads) as (where, is_first):
        progress = ProgressLine() if is_first else None
        if folds:
            numbers = sorted({fold - 1 for fold in folds})
            report = distil.measure_folds(plan, numbers, device=where, progress=progress)
        else:
            report = distil.distil(plan, device=where, progress=progress)
    if is_first:
        for line in distil_report.table(report):
            click.echo(line)
        click.echo(f"wrote {plan.out}")
