"""What a graph makes of what it has never seen: zero-shot answers of labelled edges, retrieval of pairs, emergent alignment."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgebind.evaluate import retrieval
from edgebind.evaluate.retrieval import DEPTHS
from edgebind.evaluate.zero_shot import balanced
from edgebind.labels import class_vectors
from edgebind.models import clips
from edgebind.signals import Floats
from edgebind.train import accuracy
from edgebind.train.accuracy import Answer
from edgebind.train.data.pairs import PairSource
from edgebind.train.data.sources import LabelledSource
from edgebind.train.data.task import Drawn
from edgebind.train.graph import GraphObjective
from edgebind.train.recipe import Edge

BATCH = 512
"""Items embedded at once."""


@dataclass(frozen=True)
class Retrieved:
    """How well each end of some pairs finds the other among all of them."""

    pairs: int
    hits: tuple[tuple[int, ...], tuple[int, ...]]
    """First end finds second, second finds first: how many at each of `DEPTHS`."""
    chance: float
    """Expected first places of a guess: pairs / candidates of each."""

    def __add__(self, other: Retrieved) -> Retrieved:
        forward, backward = (
            tuple(map(operator.add, mine, yours)) for mine, yours in zip(self.hits, other.hits, strict=True)
        )
        return Retrieved(self.pairs + other.pairs, (forward, backward), self.chance + other.chance)

    def to_dict(self, ends: Sequence[str]) -> dict[str, Any]:
        ways = (f"{ends[0]} to {ends[1]}", f"{ends[1]} to {ends[0]}")
        recalls = {
            way: {f"recall@{k}": round(hit / self.pairs, 4) for k, hit in zip(DEPTHS, hits, strict=True)}
            for way, hits in zip(ways, self.hits, strict=True)
        }
        return {"pairs": self.pairs, "chance": round(self.chance / self.pairs, 4), **recalls}


Answers = dict[str, dict[str, Answer]]
"""Variant of the held-out items -> question -> answer."""


@dataclass(frozen=True)
class Measured:
    """One fold's results."""

    answers: dict[str, Answers]
    """Labelled edge -> answers."""
    retrieved: dict[str, Retrieved]
    """Edge of pairs -> how its held-out pairs are found."""

    def to_dict(self) -> dict[str, Any]:
        answers = {
            edge: {v: {q: a.to_dict() for q, a in asked.items()} for v, asked in variants.items()}
            for edge, variants in self.answers.items()
        }
        retrieved = {edge: [r.pairs, r.hits, r.chance] for edge, r in self.retrieved.items()}
        return {"answers": answers, "retrieved": retrieved}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Measured:
        answers = {
            edge: {v: {q: Answer.from_dict(a) for q, a in asked.items()} for v, asked in variants.items()}
            for edge, variants in table["answers"].items()
        }
        retrieved = {
            edge: Retrieved(pairs, (tuple(hits[0]), tuple(hits[1])), chance)
            for edge, (pairs, hits, chance) in table["retrieved"].items()
        }
        return cls(answers, retrieved)


def measure(objective: GraphObjective, towers: nn.ModuleDict) -> Measured:
    """Judge `towers` (usually the moving average) on what the objective's sources held out."""
    answered, retrieved = {}, {}
    for edge, source in zip(objective.recipe.edges, objective.sources, strict=True):
        if isinstance(source, LabelledSource):
            answered[edge.name] = _answers(objective, towers, edge, source)
        elif isinstance(source, PairSource) and (drawn := source.held_out()) is not None:
            retrieved[edge.name] = retrieve(*both(objective, towers, edge.ends, drawn))
    return Measured(answered, retrieved)


def _answers(objective: GraphObjective, towers: nn.ModuleDict, edge: Edge, source: LabelledSource) -> Answers:
    left, right = edge.ends
    canonical = vectors_of(objective, towers, right, source.canonical)
    unseen = [vectors_of(objective, towers, right, inputs) for inputs in source.unseen]
    return {
        held.variant: answers(
            edge, vectors_of(objective, towers, left, torch.from_numpy(held.inputs)), held.labels, canonical, unseen
        )
        for held in source.held_out()
    }


def answers(
    edge: Edge, vectors: Floats, truth: NDArray[np.int64], canonical: Floats, unseen: Sequence[Floats]
) -> dict[str, Answer]:
    """Question -> what vectors answer with the canonical prompts; and, under another name, with banks of unseen words.

    Parameters
    ----------
    vectors: (items, dim) unit rows.
    truth: (items,) index into the edge's prompts.
    canonical, unseen: (classes, dim) unit rows of prompts.
    """
    found = _asked(edge, vectors, truth, [canonical])
    for remark, banks in ((UNSEEN, unseen), (UNSEEN_MEAN, [_mean_of(unseen)] if len(unseen) > 1 else [])):
        found |= {f"{name}, {remark}": answer for name, answer in _asked(edge, vectors, truth, banks).items()}
    return found


UNSEEN = "unseen words"
"""Behind a question that was asked once with each bank of words that nothing has learned."""
UNSEEN_MEAN = "unseen words, their mean"
"""Behind one that was asked once, with the mean of these banks, as `edgebind labels --phrasings` makes it."""


def _mean_of(banks: Sequence[Floats]) -> Floats:
    """Banks of (classes, dim) unit rows -> the bank of each class's mean over all of them."""
    by_class = np.stack(banks, axis=1)
    return class_vectors(by_class.reshape(-1, by_class.shape[2]), [("",) * len(banks)] * len(by_class))


def _asked(edge: Edge, vectors: Floats, truth: NDArray[np.int64], banks: Sequence[Floats]) -> dict[str, Answer]:
    """Question -> its answers with each bank of prompts, added up; questions that no item belongs to are left out."""
    labels = [prompts.label for prompts in edge.prompts]
    found: dict[str, Answer] = {}
    for question in edge.questions:
        answers = [accuracy.ask(question, vectors, truth, bank, labels) for bank in banks]
        known = [answer for answer in answers if answer is not None]
        if known:
            found[question.name] = functools.reduce(operator.add, known)
    return found


def both(objective: GraphObjective, towers: nn.ModuleDict, ends: Sequence[str], drawn: Drawn) -> tuple[Floats, Floats]:
    """(pairs, dim) unit rows of the two ends."""
    left, right = ends
    return vectors_of(objective, towers, left, drawn.left), vectors_of(objective, towers, right, drawn.right)


def vectors_of(objective: GraphObjective, towers: nn.ModuleDict, node: str, inputs: Tensor) -> Floats:
    """(items, ...) inputs of a node -> (items, dim) unit rows, in eval mode."""
    return rows_of(towers[node] if node in towers else objective.nodes[node].module, inputs, objective.device)


@torch.no_grad()
def rows_of(module: nn.Module, inputs: Tensor, device: torch.device) -> Floats:
    """(items, ...) inputs of a tower -> (items, dim) unit rows, in eval mode."""
    module.eval()
    batches = [inputs[at : at + BATCH] for at in range(0, len(inputs), BATCH)]
    parts = [clips.embed(module, batch.to(device)).float().cpu() for batch in batches]
    rows: Floats = torch.cat(parts).numpy()
    return rows


def retrieve(left: Floats, right: Floats) -> Retrieved:
    """Row i of `left` belongs to row i of `right`: how often is it among the nearest, both ways?"""
    hits = _hits(left, right), _hits(right, left)
    return Retrieved(len(left), hits, 1.0)


def _hits(queries: Floats, items: Floats) -> tuple[int, ...]:
    places, _ = retrieval.ranks(queries, items, [(at, at) for at in range(len(queries))])
    return tuple(int((places <= depth).sum()) for depth in DEPTHS)


def pool(folds: Sequence[Measured], edges: Sequence[Edge]) -> dict[str, Any]:
    """Edge -> figures over the items of all folds, with the balanced accuracy of each fold by itself."""
    pooled: dict[str, Any] = {}
    for edge in edges:
        parts = [fold.answers[edge.name] for fold in folds if edge.name in fold.answers]
        found = [fold.retrieved[edge.name] for fold in folds if edge.name in fold.retrieved]
        if parts:
            pooled[edge.name] = _pool_answers(parts)
        if found:
            pooled[edge.name] = functools.reduce(operator.add, found).to_dict(edge.ends)
    return pooled


def _pool_answers(parts: Sequence[Answers]) -> dict[str, dict[str, Any]]:
    pooled: dict[str, dict[str, Any]] = {}
    for variant in dict.fromkeys(v for answers in parts for v in answers):
        mine = [answers.get(variant, {}) for answers in parts]
        pooled[variant] = {
            q: _pool_question([a[q] for a in mine if q in a]) for q in dict.fromkeys(q for a in mine for q in a)
        }
    return pooled


def _pool_question(answers: Sequence[Answer]) -> dict[str, Any]:
    each = [round(balanced(answer.confusion), 4) for answer in answers]
    return {**functools.reduce(operator.add, answers).to_dict(), "folds": each}
