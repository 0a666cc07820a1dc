"""The objective of `edgebind distil`: a student learns what its teacher said of the same items, from the cache.

record of the cache ── seed ──> items ──> the student's own view ──> student ──> vectors ─┐
         └──────────── the teacher's vectors ────────────────────────────────────────────┴─> losses
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebind.models import clips
from edgebind.signals import Floats
from edgebind.train import losses
from edgebind.train.data.sources import LabelledSource
from edgebind.train.distil_recipe import Losses
from edgebind.train.teacher_cache import CacheReader, Draw

STUDENT = "student"


@dataclass(frozen=True)
class Words:
    """Prompts of the data's classes, and their vectors in the teacher's space."""

    source: LabelledSource
    texts: Floats
    """(texts, dim) of `source.inputs`."""
    canonical: Floats
    """(classes, dim) of each class's first prompt."""
    unseen: tuple[Floats, ...]
    """Banks of words that nothing learns, each (classes, dim)."""


@dataclass(frozen=True)
class Reinforced:
    """One chunk."""

    inputs: Tensor
    """(size, ...) of the student."""
    teacher: Tensor
    """(size, dim) unit rows."""
    kinds: Tensor
    """(size,) index into the prompts, or whatever tells one item from another."""
    words: Tensor
    """(size,) index into all texts; zeros where there are none."""
    name: Callable[[int], str]


class LessonObjective:
    """A student and what it is told; see `edgebind.train.engine.Objective`."""

    def __init__(
        self,
        student: nn.Module,
        how: Losses,
        *,
        chunks: int,
        cache: CacheReader,
        draw: Draw,
        prepare: Callable[[Sequence[Any]], Tensor],
        words: Words | None,
        prompt_temperature: float,
    ) -> None:
        """A lesson for `student`.

        Parameters
        ----------
        chunks: how many a step has.
        draw, prepare: items in physical units from chance, and the student's inputs from items.
        prompt_temperature: that cosines to prompts are divided by.
        """
        self.towers = nn.ModuleDict({STUDENT: student})
        self.scales = nn.ParameterDict()
        self._how, self._chunks, self._cache = how, chunks, cache
        self._draw, self._prepare, self._words = draw, prepare, words
        self._prompt_temperature = prompt_temperature
        self._device = torch.device("cpu")
        self._texts = torch.zeros(0, 0) if words is None else torch.from_numpy(words.texts)
        self._canonical = torch.zeros(0, 0) if words is None else torch.from_numpy(words.canonical)

    def to(self, device: torch.device) -> LessonObjective:
        """Compute on `device`."""
        self._device = device
        self._texts, self._canonical = self._texts.to(device), self._canonical.to(device)
        return self

    def train(self) -> None:
        self.towers.train()

    def draw(self, step: int, chunk: int, size: int, rng: np.random.Generator) -> Reinforced:
        """Records that make `size` items; their own seeds decide what is in them, `rng` only which words stand beside it."""
        count = size // self._cache.record
        records = self._cache.take((step * self._chunks + chunk) * count, count)
        drawn = [record.draw(self._draw) for record in records]
        kinds = np.concatenate([one.kinds for one in drawn])
        words = torch.zeros(size, dtype=torch.int64) if self._words is None else self._words.source.words(kinds, rng)
        return Reinforced(
            self._prepare([item for one in drawn for item in one.items]),
            torch.from_numpy(np.concatenate([record.vectors for record in records])),
            torch.from_numpy(kinds),
            words,
            lambda row: drawn[row // self._cache.record].name(row % self._cache.record),
        )

    def embed(self, drawn: Reinforced) -> list[Tensor]:
        return [clips.embed(self.towers[STUDENT], drawn.inputs.to(self._device))]

    def targets(self, drawn: Reinforced) -> list[Tensor]:
        return [tensor.to(self._device) for tensor in (drawn.teacher, drawn.kinds, drawn.words)]

    def loss(self, vectors: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        student, (teacher, kinds, words) = vectors[0], targets
        parts = {
            "affinity": lambda: losses.affinity(student, teacher, teacher, temperature=self._how.temperature),
            "prompt_affinity": lambda: losses.affinity(
                student, teacher, self._canonical, temperature=self._prompt_temperature
            ),
            "contrast": lambda: losses.contrast(student, teacher, temperature=self._how.temperature),
            "mse": lambda: losses.unit_mse(student, teacher),
            "prompts": lambda: self._info_nce(student, kinds, words),
            "labels": lambda: self._cross_entropy(student, kinds),
        }
        return {name: weight * parts[name]() for name, weight in self._how.weights.items() if weight}

    def _info_nce(self, student: Tensor, kinds: Tensor, words: Tensor) -> Tensor:
        return losses.symmetric_info_nce(
            student,
            self._texts[words],
            losses.same_class(kinds),
            temperature=self._prompt_temperature,
            smoothing=self._how.smoothing,
        )

    def _cross_entropy(self, student: Tensor, kinds: Tensor) -> Tensor:
        one_hot = functional.one_hot(kinds, len(self._canonical)).to(student.dtype)
        return losses.prompt_cross_entropy(
            student,
            self._canonical,
            one_hot,
            temperature=self._prompt_temperature,
            smoothing=self._how.smoothing,
        )

    def name(self, drawn: Reinforced, row: int) -> str:
        return drawn.name(row)
