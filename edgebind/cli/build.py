"""`edgebind build`: a bundle's TensorRT engine, on the device or ahead for a GPU that is named."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebind.cli.options import Output
from edgebind.cli.progress import LOG_EVERY_S, TERMINAL_EVERY_S, StatusLine

if TYPE_CHECKING:
    from edgebind.engines import EngineFile
    from edgebind.engines.flavour import Flavour


@click.command("build")
@click.argument("folders", type=click.Path(path_type=Path), metavar="BUNDLE...", nargs=-1, required=True)
@click.option(
    "--batch",
    default="1-16",
    show_default=True,
    metavar="LIST",
    help="Batch sizes: 1,16 for exactly these, 1-16 for any up to 16 and best at 1, 1-8-16 for best at 8.",
)
@click.option("--workspace", type=click.IntRange(1), metavar="MiB", help="Upper bound of TensorRT's scratch memory.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="SM",
    help="Build for this GPU instead of the one here, such as sm_86; may be repeated. TensorRT-RTX only.",
)
@click.option("--flavour", "flavour_name", default="auto", show_default=True, help="tensorrt or rtx (TensorRT-RTX).")
@click.option("--version-compatible", is_flag=True, help="For the lean runtime of later releases too.")
@click.option("--hardware-compatible", is_flag=True, help="For every GPU from Ampere on; somewhat slower.")
@click.option("--dla", type=click.IntRange(0), metavar="CORE", help="Give the layers it can take to this DLA core.")
@click.option("--strip-weights", is_flag=True, help="Leave the weights out; they come back from the graph.")
@click.option("--tf32", is_flag=True, help="Let FP32 products drop to 10 bits of mantissa.")
@click.option(
    "--frame", metavar="WxH", help="For 8-bit frames of this size, such as 640x480, which the GPU resizes too."
)
@click.option("--floats", is_flag=True, help="Leave the whole preprocessing of pictures to the processor.")
@click.option(
    "--out",
    type=Output(),
    metavar="DIR",
    help="Folder to keep engines in.  [default: EDGEBIND_CACHE or ~/.cache/edgebind/engines]",
)
def command(
    folders: tuple[Path, ...],
    batch: str,
    workspace: int | None,
    targets: tuple[str, ...],
    flavour_name: str,
    version_compatible: bool,
    hardware_compatible: bool,
    dla: int | None,
    strip_weights: bool,
    tf32: bool,
    frame: str | None,
    floats: bool,
    out: Path | None,
) -> None:
    """Build the TensorRT engine of each BUNDLE, or say that the cache has it.

    What is computed in FP16 or INT8 is the bundle's own; the builder only compiles. An engine is kept with the bundle's
    hash, GPU, release and batch sizes, and one that does not fit is never loaded: it is built again.

    \b
    edgebind build bundles/imu-int8                            on the device
    edgebind build bundles/imu-int8 --target sm_86 --out rtx/  ahead, for RTX 30 cards
    """
    from edgebind.engines.key import Options, parse_batches
    from edgebind.export import engine

    options = Options(workspace, version_compatible, hardware_compatible, dla, strip_weights, tf32)
    profiles = parse_batches(batch)
    size = engine.parse_frame(frame) if frame is not None else None
    site = engine.ahead(targets, flavour_name) if targets else engine.here(flavour_name)
    line = _Line()
    for folder in folders:
        found = engine.build(
            folder,
            site,
            profiles=profiles,
            options=options,
            floats=floats,
            frame=size,
            out=out,
            progress=line,
            say=line.say,
        )
        line.clear()
        for title, value in _rows(folder, found, site.flavour):
            click.echo(f"{title:9} {value}")


class _Line:
    """What the builder is at: a line that is rewritten in a terminal, one every half minute in a log."""

    def __init__(self) -> None:
        self._status = StatusLine()
        self._every = TERMINAL_EVERY_S if self._status.is_terminal else LOG_EVERY_S
        self._shown = time.monotonic()

    def __call__(self, phase: str, step: int, steps: int) -> None:
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            line = f"{phase}: {step + 1} of {steps}"
            self._status.show(line) if self._status.is_terminal else click.echo(line, err=True)

    def say(self, line: str) -> None:
        self.clear()
        click.echo(f"edgebind: {line}", err=True)

    def clear(self) -> None:
        self._status.clear()


def _rows(folder: Path, found: EngineFile, flavour: Flavour) -> list[tuple[str, str]]:
    key = found.key
    how = f"built in {found.seconds:.1f} s" if found.built else f"in the cache, once built in {found.seconds:.1f} s"
    rows = [
        ("engine", f"{found.path}, {found.size / 1e6:.2f} MB"),
        ("of", f"{folder}, {how}"),
        ("for", f"{key.place}; {flavour}; {'; '.join(map(str, key.profiles))}"),
    ]
    return [*rows, ("takes", f"{key.takes}; what is done to them before the encoder is in it")] if key.pixels else rows
