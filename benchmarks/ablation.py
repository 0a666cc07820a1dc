"""What each loss of a distillation is worth, and each size of student: one recipe, changed in one thing at a time.

    as it is          the recipe
    mse alone         one loss, at weight 1
    without mse       all that the recipe uses but one
    student imu-xs    another student

All share the teacher's vectors, and are measured on the folds that are asked for; nothing is trained on everything. A run that
was stopped goes on where it stood.

python -m edgebind.benchmarks.ablation edgebind/starter/recipes/imu.toml --fold 1 --losses --out benchmarks/results/ablation-imu.json
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgebind import cli
from edgebind.cli.options import Output
from edgebind.train import distil, distil_recipe
from edgebind.train.distil_recipe import DistilRecipe, Losses
from edgebind.train.nodes import Encode
from edgebind.train.run import Progress

AS_IT_IS = "as it is"
Variants = dict[str, DistilRecipe]


def of_losses(recipe: DistilRecipe) -> Variants:
    """Each loss alone, and all that the recipe uses but one."""
    weights = recipe.losses.weights
    known = tuple(weights) if recipe.prompts else ("affinity", "contrast", "mse")
    alone = {f"{name} alone": {name: 1.0} for name in known}
    used = {name: weight for name, weight in weights.items() if weight}
    without = {f"without {name}": {n: w for n, w in used.items() if n != name} for name in used if len(used) > 1}
    return {title: replace(recipe, losses=_told(recipe.losses, told)) for title, told in {**alone, **without}.items()}


def _told(losses: Losses, weights: Mapping[str, float]) -> Losses:
    return replace(losses, **{**dict.fromkeys(losses.weights, 0.0), **weights})


def of_students(recipe: DistilRecipe, names: Sequence[str]) -> Variants:
    """The same lesson for other students."""
    return {f"student {name}": replace(recipe, student=replace(recipe.student, tower=name)) for name in names}


def measure(
    recipe: DistilRecipe,
    variants: Variants,
    folds: Sequence[int],
    *,
    encode: Encode | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The recipe and its variants on some folds, counted from 0.

    Returns
    -------
    `folds`, `seed`, and for each variant its `held_out`, `teacher`, `kept`, `cosine` and `cost`, as `run.json` has them.
    """
    shared = replace(recipe.cache, path=recipe.cache.path or str(Path(recipe.out) / "cache"))
    found = {}
    for title, variant in {AS_IT_IS: recipe, **variants}.items():
        out = Path(recipe.out) / "ablation" / title.replace(" ", "-")
        plan = replace(variant, out=str(out), cache=shared)
        report = distil.measure_folds(plan, folds, encode, progress=progress)
        found[title] = {
            "losses": {name: weight for name, weight in variant.losses.weights.items() if weight},
            "student": variant.student.tower,
            **{name: report[name] for name in ("held_out", "kept", "cost")},
            "teacher": report["teacher"]["held_out"],
            "cosine": report["likeness"]["cosine"],
        }
    return {"folds": [fold + 1 for fold in folds], "seed": recipe.seed, "results": found}


def table(report: Mapping[str, Any], variant: str = "") -> list[str]:
    """Markdown: what each variant answers, and in brackets the share of the teacher's accuracy that it keeps.

    Parameters
    ----------
    variant: of the held-out items; the first where it is empty.
    """
    rows = []
    for title, row in report["results"].items():
        (edge, kept), *_ = row["kept"].items()
        chosen = variant or next(iter(kept))
        answers = row["held_out"][edge][chosen]
        cells = [f"{answers[q]['balanced_accuracy']:.3f} ({share:.1%})" for q, share in kept[chosen].items()]
        rows.append([title, f"{row['cost']['student']['macs'] / 1e6:.1f} M", f"{row['cosine']:.3f}", *cells])
        head = ["", "MACs", "cosine to the teacher", *kept[chosen]]
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)]


@click.command()
@click.argument("recipe_file", type=click.Path(path_type=Path, dir_okay=False), metavar="RECIPE.toml")
@click.option("--fold", "folds", type=click.IntRange(1), multiple=True, default=(1,), show_default=True)
@click.option("--losses", is_flag=True, help="Each loss alone, and all but one.")
@click.option("--student", "students", multiple=True, help="Another student; may be repeated.")
@click.option("--variant", default="", help="Of the held-out items, for the table. Default: the first.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--out", type=Output(dir_okay=False), help="Also write the numbers here, as JSON.")
def command(
    recipe_file: Path,
    folds: tuple[int, ...],
    losses: bool,
    students: tuple[str, ...],
    variant: str,
    threads: int,
    out: Path | None,
) -> None:
    """Measure RECIPE.toml, changed in one thing at a time."""
    import torch

    from edgebind import atomic
    from edgebind.cli.progress import ProgressLine

    torch.set_num_threads(threads)
    recipe = distil_recipe.read(recipe_file)
    variants = {**(of_losses(recipe) if losses else {}), **of_students(recipe, students)}
    report = measure(recipe, variants, [fold - 1 for fold in sorted(set(folds))], progress=ProgressLine())
    click.echo("\n".join(table(report, variant)))
    if out is not None:
        atomic.write_json(out, report)


if __name__ == "__main__":
    sys.exit(cli.main(command=command, name="python -m edgebind.benchmarks.ablation"))
