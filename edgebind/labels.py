"""A bank of prompts whose vectors are known, and what a sensor's vector says about each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgebind import archive, atomic
from edgebind.errors import BundleError, OptionError, RecordingError
from edgebind.signals import Floats

SAFE = 50.0
"""e to the power of this, or of its negative, is far from float32's limits."""
REMEDY = "make it with: edgebind labels PROMPT... --out FILE.npz"


@dataclass(frozen=True, eq=False)
class LabelBank:
    """Prompts and their unit vectors in one space."""

    prompts: tuple[str, ...]
    embeddings: Floats
    """(prompts, dim), rows of Euclidean length 1."""
    space: str = ""
    """The space they lie in; empty if nobody said."""
    logit_scale: float = 1.0
    """The scale of the tower that embedded the prompts; a sensor's own comes on top of it."""

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or len(self.embeddings) != len(self.prompts):
            raise OptionError(
                "a label bank needs one vector a prompt", wanted=(len(self.prompts), "dim"), got=self.embeddings.shape
            )
        if not 0 < self.logit_scale <= 1000:
            raise OptionError(
                "the logit scale of a label bank cannot be", wanted="above 0, at most 1000", got=self.logit_scale
            )

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def dim(self) -> int:
        return int(self.embeddings.shape[1])

    def probabilities(self, vectors: Floats, logit_scale: float) -> Floats:
        """softmax(logit_scale x own scale x cosine) over the prompts: (batch, dim) -> (batch, prompts).

        The formula is CLIP's (Radford et al. 2021, section 3.1.2). In ImageBind each tower multiplies its unit vectors by a
        scale of its own, so that both sides' stand before the cosine: vision's is 1, and text's is the learned one.

        Parameters
        ----------
        logit_scale: that of the tower the vectors come from.
        """
        if not len(self):
            return np.zeros((len(vectors), 0), np.float32)
        odds = vectors @ self.embeddings.T
        scale = logit_scale * self.logit_scale
        odds *= scale
        if scale > SAFE:
            odds -= odds.max(axis=1, keepdims=True)
        np.exp(odds, out=odds)
        odds /= np.add.reduce(odds, axis=1, keepdims=True)
        return odds

    def to_npz(self, path: Path) -> None:
        """Write `prompts`, `embeddings`, `space` and `logit_scale`, whole or not at all; the same bank, the same bytes."""
        with atomic.file(path) as scratch, open(scratch, "wb") as stream:
            np.savez(
                stream,
                prompts=np.array(self.prompts, dtype=str),
                embeddings=self.embeddings.astype(np.float32),
                space=np.array(self.space),
                logit_scale=np.array(self.logit_scale),
            )

    @classmethod
    def empty(cls, dim: int) -> LabelBank:
        return cls((), np.zeros((0, dim), np.float32))


def class_vectors(vectors: Floats, prompts: Sequence[Sequence[str]]) -> Floats:
    """(classes, dim) unit rows, one a class: the mean of its prompts' vectors, at unit length again.

    So CLIP puts the wording of a single prompt out of play (Radford et al. 2021, section 3.1.4), and ImageBind after it.

    Parameters
    ----------
    vectors: (prompts of all classes, dim) unit rows, class by class.
    prompts: of each class.
    """
    ends = np.cumsum([len(texts) for texts in prompts])
    means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])
    rows: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
    return rows


def read(path: Path, dim: int | None = None, space: str | None = None) -> LabelBank:
    """Read a bank written by `LabelBank.to_npz` or `edgebind labels`.

    Parameters
    ----------
    dim, space: what the bank must be of; None takes any. A bank of older make names no space, and is taken for `space`.

    Raises
    ------
    BundleError: missing, unreadable, not unit vectors, or of another space.
    """
    bank = _read(path)
    if dim is not None and bank.dim != dim:
        raise _foreign(path, wanted=f"dimension {dim}", got=str(bank.dim))
    if space is not None:
        bank = bank if bank.space else replace(bank, space=space)
        if bank.space != space:
            raise _foreign(path, wanted=repr(space), got=repr(bank.space))
    lengths = np.linalg.norm(bank.embeddings, axis=1)
    if not np.allclose(lengths, 1, atol=1e-3):
        raise BundleError(
            "label vectors must be unit vectors", where=path, got=f"lengths {lengths.min()}..{lengths.max()}"
        )
    return bank


def _read(path: Path) -> LabelBank:
    if not path.exists():
        raise BundleError("no such label bank", where=path, remedy=REMEDY)
    try:
        arrays = archive.read(path, ("prompts", "embeddings", "space", "logit_scale"))
        return LabelBank(
            tuple(str(prompt) for prompt in arrays["prompts"]),
            arrays["embeddings"].astype(np.float32),
            str(arrays["space"]) if "space" in arrays else "",
            float(arrays["logit_scale"]) if "logit_scale" in arrays else 1.0,
        )
    # Not only a damaged archive: arrays that are not there, or of another shape or type.
    except (RecordingError, OptionError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            "not a label bank", where=path, wanted="arrays prompts and embeddings", remedy=REMEDY
        ) from error


def _foreign(path: Path, *, wanted: str, got: str) -> BundleError:
    return BundleError("label bank of another space", where=path, wanted=wanted, got=got, remedy=REMEDY)
