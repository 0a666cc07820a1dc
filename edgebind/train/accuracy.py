"""Zero-shot accuracy of vectors against the canonical prompts, question by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.evaluate.zero_shot import balanced, confusion
from edgebind.signals import Floats
from edgebind.train.recipe import Question


@dataclass(frozen=True)
class Answer:
    """How the items of one question were named: among its own classes, and among all prompts of the bank."""

    groups: tuple[str, ...]
    confusion: NDArray[np.int64]
    """(groups, groups); rows are the truth."""
    right_among_all: NDArray[np.int64]
    """(groups,) items whose nearest prompt of the whole bank is of the right group."""

    def __add__(self, other: Answer) -> Answer:
        return Answer(self.groups, self.confusion + other.confusion, self.right_among_all + other.right_among_all)

    def to_dict(self) -> dict[str, Any]:
        items = self.confusion.sum(axis=1)
        seen = items > 0
        return {
            "items": int(items.sum()),
            "balanced_accuracy": round(balanced(self.confusion), 4),
            "balanced_accuracy_among_all": round(float(np.mean(self.right_among_all[seen] / items[seen])), 4),
            "groups": list(self.groups),
            "confusion": self.confusion.tolist(),
            "right_among_all": self.right_among_all.tolist(),
        }

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Answer:
        return cls(tuple(table["groups"]), np.array(table["confusion"]), np.array(table["right_among_all"]))


def ask(
    question: Question, vectors: Floats, truth: NDArray[np.int64], canonical: Floats, labels: Sequence[str]
) -> Answer | None:
    """What the nearest canonical prompt says of each item; None when no item is of the question's classes.

    Parameters
    ----------
    vectors: (items, dim) unit rows.
    truth: (items,) index into `labels`.
    canonical: (classes, dim) unit rows, the first prompt of each class.
    """
    group_of = np.full(len(labels), -1)
    for at, group in enumerate(question.groups):
        group_of[[labels.index(label) for label in group]] = at
    mine = group_of[truth] >= 0
    if not mine.any():
        return None
    cosines, right = vectors[mine] @ canonical.T, group_of[truth[mine]]
    inside = np.where(group_of >= 0, cosines, -np.inf).argmax(axis=1)
    hits = group_of[cosines.argmax(axis=1)] == right
    return Answer(
        tuple(" or ".join(group) for group in question.groups),
        confusion(right, group_of[inside], len(question.groups)),
        np.bincount(right[hits], minlength=len(question.groups)),
    )
