"""What an evaluation asks, what it is told, and where the vectors come from."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgebind import utf8
from edgebind.evaluate import few_shot, fusion
from edgebind.evaluate.dataset import Classification, Clip, Dataset, Published
from edgebind.evaluate.encoder import Encoder
from edgebind.evaluate.panel import Panel
from edgebind.evaluate.vectors import Embedded, Store
from edgebind.signals import Floats

TASKS = ("zero-shot", "few-shot", "retrieval", "fusion", "alignment")


@dataclass(frozen=True)
class Options:
    """What is asked, and how."""

    tasks: tuple[str, ...] = TASKS
    limit: int | None = None
    """Most clips of a question, chosen by their names: the same for every encoder."""
    shots: tuple[int, ...] = few_shot.SHOTS
    seeds: int = few_shot.SEEDS
    seed: int = 0
    share: float = fusion.EVENLY
    """Of the data set's first modality in a sum of two."""


@dataclass(frozen=True)
class Result:
    """One question, put to one encoder, or to two that work together."""

    task: str
    subject: str
    """The question, as data set and report call it."""
    encoder: str
    items: int
    metrics: dict[str, float]
    """0 to 1, but for `median rank` and cosines."""
    headline: str
    """The metric that stands for the others: the protocol's, or balanced accuracy where there is no protocol."""
    chance: dict[str, float] = field(default_factory=dict)
    """What guessing gets of each metric."""
    published: tuple[Published, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    """What pictures are made of: classes and confusion, points of a curve."""


@dataclass(frozen=True)
class Source:
    """An opened data set, and how it was named."""

    spec: str
    dataset: Dataset


@dataclass(frozen=True, eq=False)
class Seen:
    """What one encoder made of a classification."""

    task: Classification
    encoder: Encoder
    vectors: Floats

    @property
    def judged(self) -> Seen:
        """Without the clips that are there to learn from."""
        rows = self.task.judged
        return replace(self, task=self.task.only(rows), vectors=self.vectors[rows])


@dataclass(frozen=True, eq=False)
class Context:
    """What every question needs to be answered."""

    panel: Panel
    store: Store
    options: Options
    left_out: list[str] = field(default_factory=list)
    """Questions that nobody could answer, and clips that could not be read: a line each."""

    def wants(self, task: str) -> bool:
        return task in self.options.tasks

    def embed(self, encoder: Encoder, clips: Sequence[Clip], subject: str, source: Source) -> Embedded:
        """See `Store.embed`; clips that cannot be read are noted."""
        found = self.store.embed(encoder, clips, subject, source.spec)
        if found.damaged:
            count = f"{len(found.damaged)} of {len(clips)} clips"
            self.leave_out(f"{subject}: {count} cannot be read, the first {found.damaged[0]}")
        return found

    def leave_out(self, line: str) -> None:
        """Note what was not asked, once."""
        if (said := utf8.shown(line)) not in self.left_out:
            self.left_out.append(said)


def headline_of(task: Classification) -> str:
    """What its protocol reports; where nothing was published, balanced accuracy, which no large class can carry."""
    return task.metric if task.several or task.published else "balanced"


def some(names: Sequence[str], limit: int | None) -> list[int]:
    """Rows of `limit` of the names, chosen by the names alone, in their order."""
    by_chance = sorted(range(len(names)), key=lambda row: zlib.crc32(utf8.encoded(names[row])))
    return sorted(by_chance[:limit])
