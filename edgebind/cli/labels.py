"""`edgebind labels`: embed new prompts for the runtime to recognise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgebind.labels import LabelBank


@click.command("labels")
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="NPZ file for `edgebind run --labels`.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="Bundle to embed for: checks the space, and compares with the prompts it already has.",
)
@click.option(
    "--text-bundle",
    type=click.Path(path_type=Path),
    help="Bundle of a text tower, for spaces that bring one (imagebind). Without it: the starter's sentence encoder.",
)
def command(prompts: tuple[str, ...], out: Path | None, bundle: Path | None, text_bundle: Path | None) -> None:
    """Embed PROMPT... into the space, on the workstation; the device needs only the resulting file.

    \b
    edgebind labels "a person jogging" "a person climbing stairs" --out labels.npz
    edgebind run --sensor imu --labels labels.npz
    """
    import contextlib

    from edgebind import bundle as bundles
    from edgebind.prompts import embed_prompts

    with bundles.load(bundle) if bundle is not None else contextlib.nullcontext() as like:
        bank = embed_prompts(prompts, text_bundle=text_bundle, like=like)
        _show(bank, like.labels if like is not None else None)
    if out is not None:
        bank.to_npz(out)
        click.echo(f"wrote {len(bank)} prompts of the space {bank.space} to {out}")


def _show(bank: LabelBank, known: LabelBank | None) -> None:
    if not known:
        click.echo("\n".join(f"{prompt}: {bank.dim} dimensions" for prompt in bank.prompts))
        return
    for prompt, row in zip(bank.prompts, bank.embeddings @ known.embeddings.T, strict=True):
        nearest = int(row.argmax())
        click.echo(f"{prompt}: nearest known prompt {known.prompts[nearest]!r}, cosine {row[nearest]:.2f}")
