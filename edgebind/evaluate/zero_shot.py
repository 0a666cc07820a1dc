"""Zero-shot: an item belongs to the class whose prompts lie nearest.

    prompts of a class -> mean of their unit vectors, at unit length again -> (classes, dim)
    vectors @ classes.T -> scores (items, classes) -> top-1, top-5, balanced accuracy, mAP, confusion

Averaging the vectors of several prompts is CLIP's way (Radford et al. 2021, section 3.1.4), and ImageBind's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebind.evaluate.retrieval import blocks
from edgebind.signals import Floats

Counts = NDArray[np.int64]
Targets = Sequence[tuple[int, ...]]
"""For each item the indices of its classes."""


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """How the items of a classification were named."""

    metrics: dict[str, float]
    """`top1`, `balanced`, `top5` where there are more than five classes; `map` where an item may have several; 0 to 1."""
    guesses: Counts
    """(items,) the nearest class."""
    confusion: Counts | None
    """(classes, classes), rows are the truth; None where an item may have several classes."""


def judge(scores: Floats, targets: Targets, *, several: bool = False) -> ZeroShot:
    """Compare (items, classes) scores with the truth; a higher score is a nearer class, and of equals a wrong one is nearer.

    Parameters
    ----------
    several: whether an item may have several classes: top-1 is then right for any of them, and mAP is computed.
    """
    truth = indicators(targets, scores.shape[1])
    guesses, places = _placed(scores, truth)
    metrics = {"top1": float(truth[np.arange(len(scores)), guesses].mean())}
    if scores.shape[1] > 5:
        metrics["top5"] = float((places <= 5).mean())
    if several:
        return ZeroShot(metrics | {"map": mean_average_precision(truth, scores)}, guesses, None)
    matrix = confusion(truth.argmax(axis=1), guesses, scores.shape[1])
    return ZeroShot(metrics | {"balanced": balanced(matrix)}, guesses, matrix)


def chance(targets: Targets, classes: int, *, several: bool = False) -> dict[str, float]:
    """What guessing gets of each metric, on the average: classes alike for top-k, in any order for mAP."""
    truth = indicators(targets, classes)
    each = truth.sum(axis=1).mean() / classes
    found = {"top1": float(each)} | ({"top5": float(min(1, 5 * each))} if classes > 5 else {})
    shares = truth.mean(axis=0)
    return found | ({"map": float(shares[shares > 0].mean())} if several else {"balanced": 1 / int((shares > 0).sum())})


def indicators(targets: Targets, classes: int) -> NDArray[np.bool_]:
    """(items, classes): which classes an item has."""
    truth = np.zeros((len(targets), classes), bool)
    rows = np.repeat(np.arange(len(targets)), [len(mine) for mine in targets])
    truth[rows, [target for mine in targets for target in mine]] = True
    return truth


def _placed(scores: Floats, truth: NDArray[np.bool_]) -> tuple[Counts, Counts]:
    """The class that each item is taken for, and the place of its own; some items at a time, to need no second table."""
    guesses, places = np.empty(len(scores), np.int64), np.empty(len(scores), np.int64)
    for rows in blocks(*scores.shape):
        guesses[rows] = _nearest(scores[rows], truth[rows])
        places[rows] = _rank_of_best(scores[rows], truth[rows])
    return guesses, places


def _nearest(scores: Floats, truth: NDArray[np.bool_]) -> Counts:
    """(items,) the class that an item is taken for: where several score alike, one that it is not."""
    tied = scores == scores.max(axis=1, keepdims=True)
    wrong = tied & ~truth
    nearest: Counts = np.where(wrong.any(axis=1), wrong.argmax(axis=1), tied.argmax(axis=1))
    return nearest


def _rank_of_best(scores: Floats, truth: NDArray[np.bool_]) -> Counts:
    """(items,) place of an item's best-placed class, from 1; wrong classes that tie with it stand before it."""
    best = np.where(truth, scores, -np.inf).max(axis=1, keepdims=True)
    rank: Counts = 1 + ((scores >= best) & ~truth).sum(axis=1)
    return rank


def confusion(truth: Counts, guess: Counts, classes: int) -> Counts:
    """(classes, classes) counts; rows are the truth."""
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def balanced(matrix: Counts) -> float:
    """Mean recall over the classes that occur."""
    rows = matrix.sum(axis=1)
    return float(np.mean(matrix.diagonal()[rows > 0] / rows[rows > 0]))


def mean_average_precision(truth: NDArray[np.bool_], scores: Floats) -> float:
    """Mean over the classes that occur of each class's average precision: (items, classes) both."""
    occurring = np.flatnonzero(truth.any(axis=0))
    return float(np.mean([average_precision(truth[:, at], scores[:, at]) for at in occurring]))


def average_precision(truth: NDArray[np.bool_], scores: Floats) -> float:
    """Sum over the thresholds of precision x gain in recall, without interpolation; equal scores are one threshold."""
    order = np.argsort(-scores, kind="stable")
    hits, ranked = truth[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores
    found = np.cumsum(hits)[last]
    precision, recall = found / (last + 1), found / found[-1]
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))
