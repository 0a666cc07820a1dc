"""`edgebind bench`: latency percentiles of bundles on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgebind.cli.options import Finite

COLUMNS = ("load_ms", "first_ms", "p50_ms", "p90_ms", "p99_ms", "windows_per_second", "ratio")


@click.command("bench")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[BUNDLE...]")
@click.option("--seconds", type=Finite(0.1, 3600), default=5.0, show_default=True, help="How long, in all.")
@click.option("--batch", type=click.IntRange(1, 4096), default=1, show_default=True, help="Windows in a call.")
@click.option("--threads", type=click.IntRange(1, 256), help="Upper bound of CPU threads.")
@click.option("--backend", default="auto", show_default=True, help="Where to run the encoders.")
@click.option(
    "--recording",
    type=click.Path(path_type=Path),
    help="Replay this through each bundle, and tell what the road from samples to labels costs beside the bare call.",
)
@click.option("--json", "out", type=click.Path(path_type=Path, dir_okay=False), help="Also write the numbers here.")
def command(
    folders: tuple[Path, ...],
    seconds: float,
    batch: int,
    threads: int | None,
    backend: str,
    recording: Path | None,
    out: Path | None,
) -> None:
    """Time the encoders of some bundles against each other, call by call in turn.

    Without BUNDLE: the starter's. Ratios are against the first bundle, taken round by round, so that they hold on a
    machine whose speed drifts.

    \b
    edgebind bench bundles/imu-int8 --recording walk.csv.gz
    """
    from edgebind import starter
    from edgebind.benchmarks import bundles, end_to_end

    chosen = tuple(dict.fromkeys(folders)) or tuple(
        starter.folder(m, p) for m in starter.MODALITIES for p in starter.PRECISIONS
    )
    report = bundles.measure(chosen, seconds=seconds, batch=batch, threads=threads, backend=backend)
    click.echo(_table(report))
    if recording is not None:
        report["end_to_end"] = [
            end_to_end.measure(folder, recording, seconds=seconds, batch=batch, threads=threads, backend=backend)
            for folder in chosen
        ]
        click.echo("\n".join(line for measured in report["end_to_end"] for line in _road(measured)))
    if out is not None:
        from edgebind import atomic

        with atomic.file(out) as scratch:
            scratch.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _road(measured: dict[str, Any]) -> list[str]:
    lines = [f"\n{Path(measured['bundle']).name}, {measured['windows']} windows, batch {measured['batch']}"]
    return lines + [
        f"  {row['name']:22} {row['ms_a_window']:8.3f} ms a window {row['ratio']:6.2f}x" for row in measured["results"]
    ]


def _table(report: dict[str, Any]) -> str:
    names = [Path(result["bundle"]).name for result in report["results"]]
    width = max(len(name) for name in names)
    head = " ".join(f"{title.replace('windows_per_second', 'windows/s'):>10}" for title in COLUMNS)
    lines = [f"{report['machine']['cpu']}, batch {report['batch']}", f"{'':{width}} {head}"]
    for name, result in zip(names, report["results"], strict=True):
        lines.append(f"{name:{width}} " + " ".join(f"{result[column]:10.2f}" for column in COLUMNS))
    return "\n".join(lines)
