"""Prompts -> a label bank, on the workstation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebind import bundle as bundles
from edgebind import starter
from edgebind.bundle import Bundle
from edgebind.errors import OptionError
from edgebind.labels import LabelBank, class_vectors
from edgebind.signals import Floats

SAME = 0.95
"""Two encoders whose vectors of the same prompt have a smaller cosine are not the same, even if one of them is INT8."""


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """What embeds prompts, and the space it embeds them into."""

    encode: Callable[[Sequence[str]], Floats]
    """Prompts -> (prompts, dim), unit rows."""
    space: str
    logit_scale: float = 1.0


Phrasings = Sequence[tuple[str, Sequence[str]]]
"""Labels, each with the prompts whose mean vector stands for it."""


def embed_prompts(prompts: Sequence[str], *, text_bundle: Path | None = None, like: Bundle | None = None) -> LabelBank:
    """Embed prompts, each of which is its own label; see `embed_labels`."""
    return embed_labels([(prompt, (prompt,)) for prompt in prompts], text_bundle=text_bundle, like=like)


def embed_labels(labels: Phrasings, *, text_bundle: Path | None = None, like: Bundle | None = None) -> LabelBank:
    """Embed labels with the starter's sentence encoder, or with the text tower in `text_bundle`.

    Parameters
    ----------
    like: the bundle the labels are meant for; it must be of the same space.

    Raises
    ------
    OptionError: the same prompt twice, one without words, a label without prompts, a bundle that is no text tower, or one of
        another space.
    MissingDependencyError: the sentence encoder is not installed.
    """
    prompts = [prompt for _, phrasings in labels for prompt in phrasings]
    if len(set(prompts)) != len(prompts):
        twice = next(prompt for prompt in prompts if prompts.count(prompt) > 1)
        raise OptionError("the same prompt stands twice", got=repr(twice))
    bare = [label for label, phrasings in labels if not phrasings]
    if bare:
        raise OptionError("a label without prompts", got=repr(bare[0]))
    with _encoder(text_bundle) as encoder:
        space = encoder.space if like is None else _common_space(encoder, like)
        rows = class_vectors(encoder.encode(prompts), [phrasings for _, phrasings in labels])
        bank = LabelBank(tuple(label for label, _ in labels), rows, space, encoder.logit_scale)
    if like is not None and bank.dim != like.manifest.dim:
        raise _foreign(like, wanted=f"{like.manifest.dim} dimensions", got=str(bank.dim))
    return bank


def in_templates(labels: Sequence[str], templates: Sequence[str]) -> Phrasings:
    """Each label in each template, as CLIP's authors do it: `a dog` in `a photo of {}`; without templates as it is.

    Raises
    ------
    OptionError: a template without the one place for the label.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise OptionError(
                "a template has one place for the label", wanted="'a thermal image of {}'", got=repr(template)
            )
    return [(label, [one.replace("{}", label) for one in templates or ("{}",)]) for label in labels]


@contextlib.contextmanager
def _encoder(text_bundle: Path | None) -> Iterator[TextEncoder]:
    if text_bundle is None:
        from edgebind.models.sentences import SentenceAnchor

        yield TextEncoder(SentenceAnchor().encode, starter.SPACE)
        return
    with bundles.load(text_bundle) as tower:
        of = tower.manifest
        if of.modality != "text":
            raise OptionError("not a text tower", where=text_bundle, wanted="modality text", got=of.modality)
        yield TextEncoder(lambda prompts: _run(tower, prompts), of.space, of.logit_scale)


def _run(tower: Bundle, prompts: Sequence[str]) -> Floats:
    from edgebind.preprocess import text

    return tower.backend.infer({tower.backend.input_name: text.tokens(prompts)})[tower.backend.output_name]


def _common_space(encoder: TextEncoder, bundle: Bundle) -> str:
    """The bundle's space, if its name is the encoder's, or if the encoder puts the bundle's own prompts where they lie.

    A tower bound by its owner to the starter's sentence encoder may live in a space of any name.
    """
    known, space = bundle.labels, bundle.manifest.space
    if space != encoder.space and not (len(known) and agrees(encoder.encode(known.prompts), known.embeddings)):
        raise _foreign(bundle, wanted=repr(space), got=repr(encoder.space))
    return space


def _foreign(bundle: Bundle, *, wanted: str, got: str) -> OptionError:
    return OptionError(
        "the prompts lie in another space than the bundle",
        where=bundle.folder,
        wanted=wanted,
        got=got,
        remedy="give the space's own text tower with --text-bundle",
    )


def agrees(found: Floats, known: Floats) -> bool:
    """Whether two encoders put the same prompts where the other does; rows of `found` and `known` are unit vectors."""
    return found.shape == known.shape and bool(np.all((found * known).sum(axis=1) >= SAME))
