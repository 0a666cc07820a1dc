"""A bank of prompts whose vectors are known, and what a sensor's vector says about each of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from edgebind import atomic
from edgebind.errors import BundleError, OptionError
from edgebind.signals import Floats


@dataclass(frozen=True, eq=False)
class LabelBank:
    """Prompts and their unit vectors in one space."""

    prompts: tuple[str, ...]
    embeddings: Floats
    """(prompts, dim), rows of Euclidean length 1."""

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or len(self.embeddings) != len(self.prompts):
            raise OptionError(
                "a label bank needs one vector a prompt", wanted=(len(self.prompts), "dim"), got=self.embeddings.shape
            )

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def dim(self) -> int:
        return int(self.embeddings.shape[1])

    def probabilities(self, vectors: Floats, logit_scale: float) -> Floats:
        """softmax(logit_scale x cosine) over the prompts: (batch, dim) -> (batch, prompts).

        The formula is CLIP's (Radford et al. 2021, section 3.1.2), with the temperature the tower was trained with.
        """
        if not len(self):
            return np.zeros((len(vectors), 0), np.float32)
        logits = logit_scale * (vectors @ self.embeddings.T)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def to_npz(self, path: Path) -> None:
        """Write the bank as `prompts` and `embeddings`, whole or not at all."""
        with atomic.file(path) as scratch, open(scratch, "wb") as stream:
            np.savez(stream, prompts=np.array(self.prompts, dtype=str), embeddings=self.embeddings.astype(np.float32))

    @classmethod
    def empty(cls, dim: int) -> LabelBank:
        return cls((), np.zeros((0, dim), np.float32))


def read(path: Path, dim: int | None = None) -> LabelBank:
    """Read a bank written by `LabelBank.to_npz` or `edgebind labels`.

    Raises
    ------
    BundleError: missing, unreadable, not unit vectors, or of another space than `dim` says.
    """
    remedy = "make it with: edgebind labels PROMPT... --out FILE.npz"
    try:
        # Opened here, because np.load leaves the file open when the archive is damaged.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            bank = LabelBank(tuple(str(p) for p in archive["prompts"]), archive["embeddings"].astype(np.float32))
    except FileNotFoundError:
        raise BundleError("no such label bank", where=path, remedy=remedy) from None
    # A damaged archive fails in as many ways as there are layers in it: zip, deflate, header, values.
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        BadZipFile,
        zlib.error,
        MemoryError,
        OptionError,
    ) as error:
        raise BundleError(
            "not a label bank", where=path, wanted="arrays prompts and embeddings", remedy=remedy
        ) from error
    if dim is not None and bank.dim != dim:
        raise BundleError(
            "label bank of another space", where=path, wanted=f"dimension {dim}", got=bank.dim, remedy=remedy
        )
    lengths = np.linalg.norm(bank.embeddings, axis=1)
    if not np.allclose(lengths, 1, atol=1e-3):
        raise BundleError(
            "label vectors must be unit vectors", where=path, got=f"lengths {lengths.min()}..{lengths.max()}"
        )
    return bank
