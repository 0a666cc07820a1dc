"""`edgebind labels`: embed new prompts for the runtime to recognise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebind.cli.options import Output, require_other
from edgebind.wording import counted

if TYPE_CHECKING:
    from edgebind.labels import LabelBank
    from edgebind.prompts import Phrasings


@click.command("labels")
@click.argument("prompts", nargs=-1, metavar="PROMPT...")
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help="Put each PROMPT in the place of {}; of several templates the mean vector counts.",
)
@click.option(
    "--phrasings",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Labels with several phrasings each, in the layout that `edgebind evaluate --prompts` reads.",
)
@click.option("--out", type=Output(dir_okay=False), help="NPZ file for `edgebind run --labels`.")
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
def command(
    prompts: tuple[str, ...],
    templates: tuple[str, ...],
    phrasings: Path | None,
    out: Path | None,
    bundle: Path | None,
    text_bundle: Path | None,
) -> None:
    """Embed PROMPT... into the space, on the workstation; the device needs only the resulting file.

    One wording is one guess at what the space calls a thing. Several phrasings of a label make one vector, their mean, which
    depends less on any of them.

    \b
    edgebind labels "a person jogging" "a person climbing stairs" --out labels.npz
    edgebind labels "a person" "a car" --template "a thermal image of {}" --template "{} from above" --out labels.npz
    edgebind labels --phrasings words.toml --bundle bundles/thermal-int8 --out labels.npz
    edgebind run --sensor imu --labels labels.npz
    """
    import contextlib

    from edgebind import bundle as bundles
    from edgebind.prompts import embed_labels

    require_other(out, phrasings)
    with bundles.load(bundle) if bundle is not None else contextlib.nullcontext() as like:
        labels = _labels(prompts, templates, phrasings, like.manifest.modality if like is not None else None)
        bank = embed_labels(labels, text_bundle=text_bundle, like=like)
        _show(bank, like.labels if like is not None else None)
    if out is not None:
        bank.to_npz(out)
        click.echo(f"wrote {counted(len(bank), 'prompt')} of the space {bank.space} to {out}")


def _labels(
    prompts: tuple[str, ...], templates: tuple[str, ...], phrasings: Path | None, modality: str | None
) -> Phrasings:
    from edgebind.evaluate import prompt_file
    from edgebind.prompts import in_templates

    if phrasings is None:
        if not prompts:
            raise click.UsageError("say at least one PROMPT, or --phrasings FILE.toml")
        return in_templates(prompts, templates)
    if prompts or templates:
        raise click.UsageError("--phrasings stands alone: write the prompts into the file")
    return list(prompt_file.read_one(phrasings, modality).items())


def _show(bank: LabelBank, known: LabelBank | None) -> None:
    if not known:
        click.echo("\n".join(f"{prompt}: {bank.dim} dimensions" for prompt in bank.prompts))
        return
    for prompt, row in zip(bank.prompts, bank.embeddings @ known.embeddings.T, strict=True):
        nearest = int(row.argmax())
        click.echo(f"{prompt}: nearest known prompt {known.prompts[nearest]!r}, cosine {row[nearest]:.2f}")
