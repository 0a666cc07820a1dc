"""`edgebind triton`: bundles become models of a Triton Inference Server."""

from __future__ import annotations

from pathlib import Path

import click

from edgebind.cli.options import Output


@click.command("triton")
@click.argument("folders", type=click.Path(path_type=Path), metavar="BUNDLE...", nargs=-1, required=True)
@click.option("--out", type=Output(), default=Path("models"), show_default=True, help="Model repository.")
@click.option("--device", default="gpu", show_default=True, metavar="gpu|cpu", help="Where ONNX Runtime computes.")
@click.option(
    "--engine",
    type=click.Path(path_type=Path),
    help="Serve this engine of `edgebind build` instead of the graph; for one BUNDLE.",
)
@click.option("--batch", type=click.IntRange(1, 4096), default=16, show_default=True, help="Most windows in one call.")
@click.option(
    "--delay",
    type=click.IntRange(0, 10_000_000),
    default=1000,
    show_default=True,
    metavar="US",
    help="Microseconds that a request may wait for others to share a call with.",
)
@click.option(
    "--frames",
    default="uint8",
    show_default=True,
    metavar="uint8|uint16|fp32",
    help="What thermal cameras send: grey levels, counts or degrees Celsius.",
)
def command(
    folders: tuple[Path, ...], out: Path, device: str, engine: Path | None, batch: int, delay: int, frames: str
) -> None:
    """Write each BUNDLE into a model repository: preprocessing, encoder, labels, and an ensemble of them.

    \b
    edgebind triton bundles/imu-fp16 bundles/thermal-fp16 --out models
    tritonserver --model-repository models
    """
    from edgebind.errors import OptionError
    from edgebind.export import triton

    if engine is not None and len(folders) > 1:
        raise OptionError("an engine is of one bundle", where="--engine", got=f"{len(folders)} bundles")
    triton.check_names([folder.resolve().name for folder in folders])
    serving = triton.Serving(device, engine, batch, delay, frames)
    for folder in folders:
        *steps, name = triton.export(folder, out, serving)
        click.echo(f"ensemble  {out / name}, with {', '.join(steps)}")
    if engine is None and device == "gpu":
        told = "ONNX Runtime serves them; an INT8 bundle gains its speed on a GPU from --engine only"
        click.echo(f"edgebind: {told}", err=True)
