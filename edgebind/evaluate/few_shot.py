"""Few-shot: a linear probe learns from 1, 2, 4, 8, 16 vectors a class, and is judged on people, runs or dates it never saw.

The encoder is frozen. Each seed divides the groups anew into those that are drawn from and those that are judged; within a
seed, more shots are the fewer shots and some more. Draws go round the groups, since two windows of one recording say little
more than one. Needs scikit-learn (extra: evaluate).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import extras
from edgebind.errors import MissingDependencyError, OptionError
from edgebind.evaluate import zero_shot
from edgebind.evaluate.zero_shot import Counts, Targets
from edgebind.signals import Floats

SHOTS = (1, 2, 4, 8, 16)
SEEDS = 5
STRENGTH = 100.0
"""scikit-learn's C, of unit vectors: as much as C = 1 of vectors ten times as long."""
TRIES = 200
"""Divisions of the groups that are looked at for one with every class on both sides."""


@dataclass(frozen=True)
class Shots:
    """So many examples a class, over the seeds."""

    shots: int
    metrics: dict[str, list[float]]
    """`top1` and `balanced`, or `map`: one value a seed, 0 to 1."""
    classes: int
    """That took part: in the draw with the fewest, where groups lack some."""

    def mean(self, metric: str) -> float:
        return float(np.mean(self.metrics[metric]))

    def spread(self, metric: str) -> float:
        """Standard deviation over the seeds, of the sample; 0 of a single seed."""
        values = self.metrics[metric]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Division:
    """Who is learned from and who is judged."""

    learned: Counts
    """Rows that may be drawn."""
    judged: Counts
    """Rows of other groups."""
    classes: Counts
    """Classes that occur on both sides; only they take part."""


def curve(
    vectors: Floats,
    targets: Targets,
    classes: int,
    *,
    several: bool = False,
    groups: Sequence[str] = (),
    training: Sequence[int] = (),
    shots: Sequence[int] = SHOTS,
    seeds: int = SEEDS,
    seed: int = 0,
) -> list[Shots]:
    """How well probes do, for each number of shots that every class has examples for.

    Parameters
    ----------
    vectors: (items, dim) unit rows of a frozen encoder.
    several: whether an item may have several classes; each then gets a probe of its own, and mAP judges them.
    groups: for each item the person, run, date or fold it comes from; learned-from and judged groups differ. None: items are
        divided one by one.
    training: items that are drawn from; the others are judged. None: half of the groups, another half each seed.
    seeds: how many draws.
    seed: of the first of them.

    Raises
    ------
    OptionError: fewer than two classes occur on both sides of any division.
    MissingDependencyError: scikit-learn is not installed.
    """
    truth = zero_shot.indicators(targets, classes)
    judge_probe = _judge_several if several else _judge_one
    found: dict[int, list[dict[str, float]]] = {}
    fewest = classes
    for draw in range(seed, seed + seeds):
        rng = np.random.default_rng(draw)
        division = divide(truth, groups, training, rng)
        fewest = min(fewest, len(division.classes))
        queues = [_queue(division.learned, truth[:, at], groups, rng) for at in division.classes]
        for count in shots:
            if all(len(queue) >= count for queue in queues):
                rows = np.unique(np.concatenate([queue[:count] for queue in queues]))
                found.setdefault(count, []).append(judge_probe(vectors, truth, rows, division))
    return [
        Shots(count, {name: [one[name] for one in values] for name in values[0]}, fewest)
        for count, values in sorted(found.items())
        if len(values) == seeds
    ]


def divide(
    truth: NDArray[np.bool_], groups: Sequence[str], training: Sequence[int], rng: np.random.Generator
) -> Division:
    """Rows to draw from and rows to judge: as the data set says, or half of the groups.

    Raises
    ------
    OptionError: fewer than two classes occur on both sides.
    """
    is_learned = np.isin(np.arange(len(truth)), training) if len(training) else _best_half(truth, groups, rng)
    classes = np.flatnonzero(truth[is_learned].any(axis=0) & truth[~is_learned].any(axis=0))
    if len(classes) < 2:
        raise OptionError("few-shot needs two classes in two groups", wanted="classes on both sides", got=len(classes))
    taking_part = truth[:, classes].any(axis=1)
    return Division(np.flatnonzero(is_learned & taking_part), np.flatnonzero(~is_learned & taking_part), classes)


def _best_half(truth: NDArray[np.bool_], groups: Sequence[str], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(items,) whether it is learned from: of many halves of the groups, the one with the most classes on both sides, and
    of those the one whose rarest class has the most examples."""
    names, member = np.unique(groups if len(groups) else np.arange(len(truth)), return_inverse=True)
    counts = np.zeros((len(names), truth.shape[1]), np.float32)  # of each class in each group
    np.add.at(counts, member, truth)
    halves = np.stack([rng.permutation(len(names)) < len(names) // 2 for _ in range(TRIES)])
    learned = halves.astype(np.float32) @ counts
    on_both = (learned > 0) & (learned < counts.sum(axis=0))
    least = np.where(on_both, learned, np.inf).min(axis=1, initial=np.inf)
    *_, best = sorted(range(TRIES), key=lambda at: (on_both[at].sum(), least[at], -at))
    chosen: NDArray[np.bool_] = halves[best][member]
    return chosen


def _queue(learned: Counts, has: NDArray[np.bool_], groups: Sequence[str], rng: np.random.Generator) -> Counts:
    """Rows of one class in the order in which they are drawn: one of each group, then another of each, ..."""
    mine = rng.permutation(learned[has[learned]])
    by_group: dict[str, list[int]] = {}
    for row in mine.tolist():
        by_group.setdefault(groups[row] if len(groups) else "", []).append(row)
    rounds = itertools.zip_longest(*by_group.values())
    return np.array([row for one in rounds for row in one if row is not None], np.int64)


def _judge_one(vectors: Floats, truth: NDArray[np.bool_], rows: Counts, division: Division) -> dict[str, float]:
    """Learn from `rows`, judge the division's other side."""
    owners = truth[:, division.classes].argmax(axis=1)
    guesses = _logistic(vectors[rows], owners[rows]).predict(vectors[division.judged])
    matrix = zero_shot.confusion(owners[division.judged], guesses, len(division.classes))
    return {"top1": float(matrix.trace() / matrix.sum()), "balanced": zero_shot.balanced(matrix)}


def _judge_several(vectors: Floats, truth: NDArray[np.bool_], rows: Counts, division: Division) -> dict[str, float]:
    """The same, of items that may have several classes."""
    kept = truth[:, division.classes]
    scores = _one_against_rest(vectors[rows], kept[rows], vectors[division.judged])
    return {"map": zero_shot.mean_average_precision(kept[division.judged], scores)}


def _one_against_rest(learned: Floats, truth: NDArray[np.bool_], judged: Floats) -> Floats:
    """(judged, classes) scores, each class by a probe of its own."""
    columns = [
        _logistic(learned, has).decision_function(judged) if has.any() and not has.all() else np.zeros(len(judged))
        for has in truth.T
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _logistic(vectors: Floats, labels: NDArray[Any]) -> Any:
    require()
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=STRENGTH, max_iter=2000).fit(vectors, labels)


def require() -> None:
    """Find out before hours of work, not after.

    Raises
    ------
    MissingDependencyError: scikit-learn is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("scikit-learn is not installed", remedy=extras.remedy("evaluate")) from error
