"""Prompts -> a label bank, on the workstation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebind import bundle as bundles
from edgebind.errors import OptionError
from edgebind.labels import LabelBank
from edgebind.signals import Floats


def embed_prompts(prompts: Sequence[str], *, text_bundle: Path | None = None) -> LabelBank:
    """Embed prompts with the starter's sentence encoder, or with the text tower in `text_bundle`.

    Raises
    ------
    OptionError: the same prompt twice, one without words, or a bundle that is no text tower.
    MissingDependencyError: the sentence encoder is not installed.
    """
    unique = tuple(dict.fromkeys(prompts))
    if len(unique) != len(prompts):
        raise OptionError("the same prompt stands twice", got=", ".join(repr(p) for p in prompts))
    if text_bundle is None:
        from edgebind.models.sentences import SentenceAnchor

        return LabelBank(unique, SentenceAnchor().encode(unique))
    return LabelBank(unique, _from_tower(unique, text_bundle))


def _from_tower(prompts: Sequence[str], folder: Path) -> Floats:
    from edgebind.preprocess import text

    with bundles.load(folder) as tower:
        if tower.manifest.modality != "text":
            raise OptionError("not a text tower", where=folder, wanted="modality text", got=tower.manifest.modality)
        return tower.backend.infer({tower.backend.input_name: text.tokens(prompts)})[tower.backend.output_name]
