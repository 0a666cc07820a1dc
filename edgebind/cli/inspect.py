"""`edgebind inspect`: what a bundle is, and whether it is whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgebind.manifest import Manifest


@click.command("inspect")
@click.argument("folder", type=click.Path(path_type=Path), metavar="BUNDLE")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(folder: Path, as_json: bool) -> None:
    """Show what BUNDLE is, after checking every byte of it."""
    from edgebind import bundle

    manifest = bundle.verify(folder)
    if as_json:
        click.echo(json.dumps(asdict(manifest), indent=2, ensure_ascii=False))
        return
    for title, value in _rows(folder, manifest):
        click.echo(f"{click.style(f'{title:11}', bold=True)} {value}")


_PIXELS = "TensorRT takes the 8-bit pixels after resize and crop, and does the rest (--backend tensorrt-floats: not)"


def _size(count: int) -> str:
    """Of a file of so many bytes."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _rows(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    from edgebind import preprocess, reference

    window, gate = manifest.window, manifest.gate
    rows = [
        ("bundle", f"{folder}: whole, {len(manifest.files)} files match their hashes"),
        (
            "encoder",
            f"{manifest.modality} into space {manifest.space!r}, {manifest.dim} dimensions, {manifest.precision}",
        ),
        ("window", f"{window.seconds:g} s at {window.rate_hz:g} Hz, one every {window.hop_seconds:g} s"),
        ("channels", ", ".join(f"{c} [{u}]" for c, u in zip(window.channels, window.units, strict=True))),
        ("preprocess", json.dumps(manifest.preprocess, ensure_ascii=False)),
        *([("pixels", _PIXELS)] if preprocess.tail_of(manifest.preprocess) is not None else []),
        ("labels", "; ".join(manifest.labels) or "none: give some with edgebind run --labels"),
        *(
            ("", f"{name}  {_size((folder / name).stat().st_size)}  sha256 {digest[:12]}")
            for name, digest in manifest.files.items()
        ),
    ]
    if reference.FILE in manifest.files:
        of = reference.read(folder / reference.FILE)
        rows.append(
            ("drift", f"judged every {of.block} windows, by {of.recordings} recordings held out of calibration")
        )
    if gate:
        rows.append(
            ("gate", ", ".join(f"{key} {value}" for key, value in gate.items() if not isinstance(value, (dict, list))))
        )
    rows += [(key, str(value)) for key, value in manifest.provenance.items() if not isinstance(value, (dict, list))]
    return rows
