"""`edgebind evaluate`: how good encoders are, side by side."""

from __future__ import annotations

from pathlib import Path

import click

from edgebind.cli.options import Output

TASKS = ("zero-shot", "few-shot", "retrieval", "fusion", "alignment")


@click.command("evaluate")
@click.argument("models", nargs=-1, required=True, metavar="[NAME=]MODEL...")
@click.option(
    "--on",
    "specs",
    multiple=True,
    required=True,
    metavar="NAME[@SPLIT]:FOLDER",
    help="Data set, see how-to/datasets.md; may be repeated.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(TASKS),
    help="What to ask; may be repeated. Default: all that fits.",
)
@click.option(
    "--text",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="What embeds words, for spaces whose models bring nothing that does.",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Other words for the classes.",
)
@click.option(
    "--templates",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Other sentences around the names of the classes, such as CLIP's.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="At most so many clips of each question, the same for all encoders.",
)
@click.option(
    "--shots",
    multiple=True,
    type=click.IntRange(1, 10_000),
    help="Examples of each class for a probe; may be repeated.  [default: 1, 2, 4, 8, 16]",
)
@click.option("--seeds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Draws of examples.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Of the data set's first sensor in a sum of two.",
)
@click.option(
    "--out",
    type=Output(file_okay=False),
    default=Path("evaluation"),
    show_default=True,
    help="Folder for the report.",
)
@click.option(
    "--cache",
    type=Output(file_okay=False),
    help="Folder for vectors, which other evaluations may share.  [default: OUT/vectors]",
)
@click.option(
    "--clips",
    type=click.IntRange(1, 128),
    default=5,
    show_default=True,
    help="Of a video, evenly from its beginning to its end; their mean vector stands for it.",
)
@click.option("--frames", type=click.IntRange(1, 128), default=2, show_default=True, help="Of a clip of 2 s.")
@click.option(
    "--crops",
    type=click.Choice(["1", "3"]),
    default="3",
    show_default=True,
    help="Of a clip: its centre, or three squares along its long side.",
)
@click.option("--backend", default="auto", show_default=True, help="Where to run bundles.")
@click.option("--threads", type=click.IntRange(1, 256), help="Upper bound of CPU threads.")
@click.option(
    "--device", default="cpu", show_default=True, help="Where torch runs towers and checkpoints: cpu, cuda, cuda:1."
)
def command(
    models: tuple[str, ...],
    specs: tuple[str, ...],
    tasks: tuple[str, ...],
    text: Path | None,
    prompts: Path | None,
    templates: Path | None,
    limit: int | None,
    shots: tuple[int, ...],
    seeds: int,
    share: float,
    clips: int,
    frames: int,
    crops: str,
    out: Path,
    cache: Path | None,
    backend: str,
    threads: int | None,
    device: str,
) -> None:
    """Put MODELs (bundles, towers of `edgebind bind`, ImageBind's checkpoint) side by side on public data sets.

    OUT gets report.html, report.json and plot.png. A run that was stopped goes on where it stood. Videos are seen as
    ImageBind's authors show them; `--clips 1 --frames 1 --crops 1` takes the picture in the middle, at a 30th of the cost.

    \b
    edgebind evaluate imu-fp32 imu-int8 --on spsw:data/imu_spsw
    edgebind evaluate teacher=imagebind_huge.pth student=runs/audio/tower.safetensors --on esc50:ESC-50-master
    """
    from edgebind.cli.progress import ProgressLine
    from edgebind.evaluate import few_shot, report, road
    from edgebind.evaluate.encoders import Where
    from edgebind.evaluate.results import Options
    from edgebind.preprocess.videos import Sampling

    chosen = tuple(sorted(set(shots))) or few_shot.SHOTS
    options = Options(tuple(dict.fromkeys(tasks)) or TASKS, limit, chosen, seeds, share=share)
    where = Where(backend, threads, device, Sampling(clips, frames=frames, crops=int(crops)))
    request = road.Request(models, specs, out, text, prompts, templates, cache, where, options)
    try:
        found = road.run(request, ProgressLine())
    except KeyboardInterrupt:
        click.echo(
            f"\nedgebind: vectors so far are kept in {cache or out / road.VECTORS}; the same command goes on there",
            err=True,
        )
        raise
    click.echo(report.as_text(found))
    click.echo(f"edgebind: wrote {out / 'report.html'}, report.json and plot.png", err=True)
