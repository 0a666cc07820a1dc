"""Emergent alignment: do two modalities that were never trained together lie in one space all the same?

with pairs          true pairs are nearer to each other than the same vectors paired at random; each finds its other half
with classes alone  a class of one modality lies nearest to the same class of the other
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import OptionError
from edgebind.evaluate import zero_shot
from edgebind.evaluate.encoder import unit_rows
from edgebind.evaluate.retrieval import Pairs, blocks
from edgebind.evaluate.zero_shot import Counts
from edgebind.signals import Floats

SHUFFLES = 1000
"""Random pairings that the true one is compared with."""
SAMPLE = 2_000_000
"""Random pairs that a true one is compared with, at most."""
ROUNDING = 1e-6
"""A shuffle whose mean is as near as this to the true one's has reached it."""


@dataclass(frozen=True)
class PairAlignment:
    """Cosines of pairs against those of shuffled pairs."""

    cosine: float
    """Mean over the pairs."""
    shuffled: float
    """Mean over the pairs of all shuffles."""
    spread: float
    """Standard deviation of a shuffle's mean."""
    nearer: float
    """Chance that a true pair is nearer than a random one (the area under the ROC curve); 0.5 is no alignment."""
    p: float
    """Share of shuffles whose mean reaches the true one's, the true one counted among them."""


def of_pairs(left: Floats, right: Floats, pairs: Pairs, *, seed: int = 0, shuffles: int = SHUFFLES) -> PairAlignment:
    """How much nearer pairs lie than chance would have it: (n, dim) and (m, dim) unit rows, and at least one pair.

    Every cosine is computed once, some rows at a time, and each shuffle picks its own out of them.
    """
    table = np.array(pairs, np.int64).reshape(-1, 2)
    first, second = left[table[:, 0]], right[table[:, 1]]
    rng = np.random.default_rng(seed)
    partners = np.stack([rng.permutation(len(table)).astype(np.int32) for _ in range(shuffles)], axis=1)
    sums, true, sample = np.zeros(shuffles), [], []
    for rows in blocks(len(table), len(table)):
        cosines = first[rows] @ second.T
        shuffled = np.take_along_axis(cosines, partners[rows], axis=1)  # (rows, shuffles)
        # Thousands of alike cosines added up in float32 drift by more than `ROUNDING`.
        sums += shuffled.sum(axis=0, dtype=np.float64)
        true.append(cosines[np.arange(len(cosines)), np.arange(rows.start, rows.stop)])
        sample.append(shuffled[:, : max(1, SAMPLE // len(table))].ravel())
    return _compared(np.concatenate(true), sums / len(table), np.concatenate(sample))


def _compared(true: Floats, means: NDArray[np.float64], sample: Floats) -> PairAlignment:
    """The cosines of the pairs, the mean of each shuffle, and cosines of random pairs."""
    cosine = float(true.mean(dtype=np.float64))
    return PairAlignment(
        cosine=cosine,
        shuffled=float(means.mean()),
        spread=float(means.std()),
        nearer=_nearer(true, sample),
        p=float((1 + (means >= cosine - ROUNDING).sum()) / (1 + len(means))),
    )


def _nearer(true: Floats, random: Floats) -> float:
    """Mann-Whitney's U over both sizes; a tie is half a win."""
    ordered = np.sort(random)
    below, upto = ordered.searchsorted(true, "left"), ordered.searchsorted(true, "right")
    return float((below + upto).mean() / (2 * len(ordered)))


@dataclass(frozen=True)
class ClassAlignment:
    """Classes that two modalities share, each seen as the mean of its items."""

    classes: tuple[str, ...]
    found: float
    """Share of classes whose mean lies nearest to the same class's in the other modality, both ways."""
    balanced: tuple[float, float]
    """Balanced accuracy of each modality's items when the other's class means do the naming."""

    @property
    def chance(self) -> float:
        return 1 / len(self.classes)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Vectors of one modality and what they are of."""

    vectors: Floats
    """(items, dim) unit rows."""
    labels: Sequence[str]


def shared(left: Labelled, right: Labelled) -> tuple[str, ...]:
    """Names of the classes that both sides have, however they are spelled."""
    return tuple(sorted({_plain(name) for name in left.labels} & {_plain(name) for name in right.labels}))


def of_classes(left: Labelled, right: Labelled) -> ClassAlignment:
    """How far the classes that both sides have agree.

    Raises
    ------
    OptionError: fewer than two classes in common.
    """
    classes = shared(left, right)
    if len(classes) < 2:
        raise OptionError("too few classes in common", wanted="two", got=", ".join(classes) or "none")
    (rows, owners), (other_rows, other_owners) = _of(left, classes), _of(right, classes)
    means, other_means = _means(rows, owners, len(classes)), _means(other_rows, other_owners, len(classes))
    cosines, at = means @ other_means.T, np.arange(len(classes))
    found = np.mean([cosines.argmax(axis=1) == at, cosines.argmax(axis=0) == at])
    return ClassAlignment(
        classes, float(found), (_named(rows, owners, other_means), _named(other_rows, other_owners, means))
    )


def _plain(name: str) -> str:
    return name.replace("_", " ").strip().lower()


def _of(side: Labelled, classes: Sequence[str]) -> tuple[Floats, Counts]:
    """Vectors of these classes, and which class each is of."""
    owners = np.array([classes.index(_plain(name)) if _plain(name) in classes else -1 for name in side.labels])
    return side.vectors[owners >= 0], owners[owners >= 0]


def _means(rows: Floats, owners: Counts, classes: int) -> Floats:
    return unit_rows(np.stack([rows[owners == at].mean(axis=0) for at in range(classes)]))


def _named(rows: Floats, owners: Counts, means: Floats) -> float:
    guesses: NDArray[np.int64] = (rows @ means.T).argmax(axis=1)
    return zero_shot.balanced(zero_shot.confusion(owners, guesses, len(means)))
