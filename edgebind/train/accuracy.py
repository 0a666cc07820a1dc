"""Zero-shot accuracy of vectors against the canonical prompts, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.signals import Floats
from edgebind.train.recipe import Prompts


def confusion(truth: NDArray[np.int64], guess: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts; rows are the truth."""
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def balanced(matrix: NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur."""
    rows = matrix.sum(axis=1)
    return float(np.mean(matrix.diagonal()[rows > 0] / rows[rows > 0]))


def zero_shot(vectors: Floats, truth: NDArray[np.int64], canonical: Floats, prompts: Sequence[Prompts]) -> dict[str, Any]:
    """Balanced accuracy and confusion of each task, told apart among its own prompts, and of all prompts together.

    Parameters
    ----------
    vectors: (items, dim) unit rows.
    truth: (items,) index into `prompts`.
    canonical: (classes, dim) unit rows, the first prompt of each class.
    """
    cosines = vectors @ canonical.T
    report = {}
    for task in dict.fromkeys(p.task for p in prompts):
        members = np.array([at for at, p in enumerate(prompts) if p.task == task])
        mine = np.isin(truth, members)
        if not mine.any():
            continue
        inside = members[cosines[np.ix_(mine, members)].argmax(axis=1)]
        matrix = confusion(truth[mine], inside, len(prompts))[np.ix_(members, members)]
        among_all = confusion(truth[mine], cosines[mine].argmax(axis=1), len(prompts))
        report[task] = {
            "items": int(mine.sum()),
            "balanced_accuracy": round(balanced(matrix), 4),
            "balanced_accuracy_among_all": round(balanced(among_all), 4),
            "classes": [prompts[at].label for at in members],
            "confusion": matrix.tolist(),
        }
    return report
