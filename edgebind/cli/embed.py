"""`edgebind embed`: embed recordings into one NPZ file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebind.cli import options
from edgebind.cli.options import Output
from edgebind.cli.progress import StatusLine
from edgebind.wording import counted

if TYPE_CHECKING:
    from edgebind.bundle import Bundle
    from edgebind.signals import Embedding
    from edgebind.sources import Wanted

SHOWN_EVERY = 64
"""Embeddings between two looks at how far it is."""


@click.command("embed")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--bundle", "folder", type=click.Path(path_type=Path), required=True, help="Bundle to embed with.")
@click.option(
    "--out",
    type=Output(dir_okay=False),
    required=True,
    help="NPZ file to write, whole or not at all.",
)
@options.rate
@options.units
@click.option("--threads", type=click.IntRange(1, 256), help="Upper bound of CPU threads.")
@click.option(
    "--backend", default="auto", show_default=True, help="Where to run the encoder: tensorrt, onnxruntime ..."
)
def command(
    inputs: tuple[str, ...],
    folder: Path,
    out: Path,
    rate: float | None,
    units_text: str | None,
    threads: int | None,
    backend: str,
) -> None:
    """Embed INPUT...: recordings (CSV, CSV.gz, NPZ), folders of pictures, pictures, videos, sounds, or prompts (TXT).

    The file holds `embeddings` (n, dim), `start_ns` and `stop_ns` of each window, and `source`: the INPUT it comes from,
    in a folder of pictures the picture. Pictures have no times: each stands one frame after the one before it. Of a
    video every frame is embedded, or with --rate no more than so many a second. A sound shorter than a window is one
    window. Prompts stand one a line, a second apart.

    \b
    edgebind embed --bundle bundles/imu-int8 monday.csv tuesday.csv --out week.npz
    edgebind embed --bundle bundles/audio-fp32 dog.wav rain.ogg --out sounds.npz
    """
    from edgebind import bundle as bundles
    from edgebind.sources import Wanted, units

    options.require_other(out, *inputs)
    said = units.parse(units_text) if units_text is not None else None
    with bundles.load(folder, backend=backend, threads=threads) as bundle:
        wanted = Wanted(bundle.manifest.modality, bundle.manifest.window, rate, said)
        found = _embed_all(bundle, inputs, wanted.at_once())
        _write(out, found, bundle.manifest.dim)
    rows, files = counted(len(found), "embedding"), counted(len(inputs), "recording")
    click.echo(f"edgebind: wrote {rows} of {files} to {out}", err=True)


def _embed_all(bundle: Bundle, inputs: tuple[str, ...], wanted: Wanted) -> list[Embedding]:
    from edgebind import sources
    from edgebind.errors import RecordingError
    from edgebind.stream import embed_recording

    found: list[Embedding] = []
    status = StatusLine()
    for number, path in enumerate(inputs, 1):
        before = len(found)
        for embedding in embed_recording(bundle, sources.open_source(f"file:{path}", wanted)):
            if (len(found) - before) % SHOWN_EVERY == 0:
                status.show(f"{number} of {len(inputs)}, {len(found)} embeddings: {path}"[:96])
            found.append(embedding)
        if len(found) == before:
            raise RecordingError("no window has enough samples", where=path, remedy="is it full of gaps?")
    status.clear()
    return found


def _write(out: Path, found: list[Embedding], dim: int) -> None:
    import numpy as np

    from edgebind import atomic

    vectors = np.array([embedding.vector for embedding in found], np.float32).reshape(len(found), dim)
    with atomic.file(out) as scratch, open(scratch, "wb") as stream:
        np.savez(
            stream,
            embeddings=vectors,
            start_ns=np.array([embedding.start_ns for embedding in found], np.int64),
            stop_ns=np.array([embedding.stop_ns for embedding in found], np.int64),
            source=np.array([embedding.origin for embedding in found], dtype=str),
        )
