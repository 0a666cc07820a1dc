"""`edgebind bench`: latency, throughput, memory and energy of bundles on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgebind.cli.options import Finite, Numbers, Output, require_other


@click.command("bench")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[BUNDLE...]")
@click.option(
    "--seconds",
    "--duration",
    "seconds",
    type=Finite(0.1, 3600),
    default=5.0,
    show_default=True,
    help="How long, in all.",
)
@click.option(
    "--warmup", type=Finite(0, 600), default=0.0, metavar="S", help="Warm up for S seconds beside the usual ten calls."
)
@click.option(
    "--batch",
    "batches",
    type=Numbers(1, 4096),
    default="1",
    show_default=True,
    help="Windows in a call; several, as 1,2,4,8: a race for each.",
)
@click.option(
    "--streams",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Callers at once, each with an encoder of its own.",
)
@click.option("--threads", type=click.IntRange(1, 256), help="Upper bound of CPU threads.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    default=("auto",),
    show_default=True,
    help="Where to run the encoders; may be given again: a race between backends.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Only bundles of this precision; may be given again.",
)
@click.option(
    "--recording",
    type=click.Path(path_type=Path),
    help="Replay this through each bundle, and tell what the road from samples to labels costs beside the bare call.",
)
@click.option(
    "--power",
    "meter",
    default="auto",
    show_default=True,
    help="Meter for energy: ina3221, tegrastats, nvml, rapl; or none.",
)
@click.option(
    "--roofline",
    is_flag=True,
    help="Also measure what this machine can do, and tell how near each encoder comes to it.",
)
@click.option(
    "--fresh/--no-fresh",
    default=True,
    help="Also start a fresh process for each encoder: memory, and the first embedding.  [default: fresh]",
)
@click.option("--json", "out", type=Output(dir_okay=False), help="Also write the numbers here.")
@click.option(
    "--html",
    "page",
    type=Output(dir_okay=False),
    help="Also draw them on one page, which needs no network.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="A B",
    help="Measure nothing; compare two files that --json wrote.",
)
@click.option(
    "--fail-above",
    type=Finite(0, 1000),
    metavar="PERCENT",
    help="With --compare: exit with 1 when B is surely slower than A by more than this.",
)
def command(
    folders: tuple[Path, ...],
    seconds: float,
    warmup: float,
    batches: tuple[int, ...],
    streams: int,
    threads: int | None,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    recording: Path | None,
    meter: str,
    roofline: bool,
    fresh: bool,
    out: Path | None,
    page: Path | None,
    compare: tuple[Path, Path] | None,
    fail_above: float | None,
) -> None:
    """Time the encoders of some bundles against each other, call by call in turn.

    Without BUNDLE: the starter's. Ratios are against the first bundle, taken round by round, so that they hold on a
    machine whose speed drifts.

    \b
    edgebind bench bundles/imu-int8 --recording walk.csv.gz
    edgebind bench --batch 1,2,4,8,16 --roofline --html bench.html
    edgebind bench --compare before.json after.json --fail-above 5
    """
    if compare is not None:
        _refuse_bundles(folders)
        _compare(compare, fail_above)
        return
    if fail_above is not None:
        raise click.UsageError("--fail-above belongs to --compare")
    from edgebind.benchmarks import bundles

    for file in (out, page):
        require_other(file, recording)
    chosen = _chosen(folders, precisions)
    options = bundles.Options(seconds, batches, threads, backends, streams, warmup, fresh, meter, roofline)
    report = bundles.measure(chosen, options)
    _tell(report)
    _keep(report, out, page)  # what was measured is not lost with a recording that turns out to be faulty
    if recording is not None:
        report["end_to_end"] = _replay(chosen, recording, options)
        _keep(report, out, page)


def _refuse_bundles(folders: tuple[Path, ...]) -> None:
    if folders:
        raise click.UsageError("--compare measures nothing and takes no BUNDLE")


def _chosen(folders: tuple[Path, ...], precisions: tuple[str, ...]) -> list[Path]:
    """The bundles that were given, or the starter's; of these only those of the precisions asked for."""
    from edgebind import manifest, starter
    from edgebind.errors import OptionError

    given = list(dict.fromkeys(folders)) or [
        starter.folder(m, p) for m in starter.MODALITIES for p in starter.PRECISIONS
    ]
    found = {folder: manifest.read(folder / manifest.FILE).precision for folder in given} if precisions else {}
    chosen = [folder for folder in given if not precisions or found[folder] in precisions]
    if not chosen:
        raise OptionError("no bundle of that precision", wanted=" or ".join(precisions), got=", ".join(found.values()))
    return chosen


def _tell(report: dict[str, Any]) -> None:
    from edgebind.benchmarks import table

    click.echo(table.to_text(report))


def _replay(chosen: list[Path], recording: Path, options: Any) -> list[dict[str, Any]]:
    from edgebind.benchmarks import end_to_end

    measured = []
    for folder in chosen:
        for batch in options.batches:
            measured.append(
                end_to_end.measure(
                    folder,
                    recording,
                    seconds=options.seconds,
                    batch=batch,
                    threads=options.threads,
                    backend=options.backends[0],
                )
            )
            click.echo("\n".join(_road(measured[-1])))
    return measured


def _road(measured: dict[str, Any]) -> list[str]:
    lines = [f"\n{Path(measured['bundle']).name}, {measured['windows']} windows, batch {measured['batch']}"]
    return lines + [
        f"  {row['name']:22} {row['ms_a_window']:8.3f} ms a window {row['ratio']:6.2f}x" for row in measured["results"]
    ]


def _keep(report: dict[str, Any], out: Path | None, page: Path | None) -> None:
    """Write what was asked for; a disk that has no room for one of the two does not cost the other."""
    from edgebind import atomic

    try:
        if out is not None:
            atomic.write_json(out, report)
    finally:
        if page is not None:
            from edgebind.benchmarks import page as pages

            pages.write(page, report)


def _compare(files: tuple[Path, Path], fail_above: float | None) -> None:
    from edgebind.benchmarks import compare

    rows = compare.compare(*(compare.read(file) for file in files))
    click.echo(compare.to_text(rows, *files))
    slower = [row for row in rows if fail_above is not None and row.low > 1 + fail_above / 100]
    if slower:
        names = ", ".join(row.name for row in slower)
        click.echo(f"edgebind: slower by more than {fail_above:g} %: {names}", err=True)
        raise click.exceptions.Exit(1)
