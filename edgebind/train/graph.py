"""The objective of `edgebind bind`: every edge of the graph pulls its two ends together.

imu ────── text        each edge draws its own batch, and its loss is symmetric InfoNCE at its own temperature;
thermal ── text        the sum over all edges is what a step descends
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from edgebind.models import clips
from edgebind.train import losses
from edgebind.train.data.sources import LabelledSource
from edgebind.train.data.task import Drawn, EdgeSource
from edgebind.train.nodes import NodeTower
from edgebind.train.recipe import Edge, Recipe

LARGEST_SCALE = 100.0
"""A learned temperature never falls below 1 / 100, as in CLIP."""


class GraphObjective:
    """Towers, edges and their data; see `edgebind.train.engine.Objective`."""

    def __init__(self, recipe: Recipe, nodes: Mapping[str, NodeTower], sources: Sequence[EdgeSource]) -> None:
        self.recipe, self.nodes, self.sources = recipe, nodes, sources
        self.device = torch.device("cpu")
        self.towers = nn.ModuleDict({name: tower.module for name, tower in nodes.items() if tower.is_trained})
        self._frozen = nn.ModuleDict({name: tower.module for name, tower in nodes.items() if not tower.is_trained})
        self.scales = nn.ParameterDict(
            {
                edge.name: nn.Parameter(torch.tensor(-math.log(edge.temperature)))
                for edge in recipe.edges
                if edge.learn_temperature
            }
        )

    def to(self, device: torch.device) -> GraphObjective:
        """Compute on `device`."""
        self.device = device
        self._frozen.to(device)
        return self

    def train(self) -> None:
        for tower in self.nodes.values():
            tower.train()

    def draw(self, step: int, chunk: int, size: int, rng: np.random.Generator) -> list[Drawn]:
        first = (step * self.recipe.training.chunks + chunk) * size
        return [source.draw(first, size, rng) for source in self.sources]

    def embed(self, drawn: list[Drawn]) -> list[Tensor]:
        """Both ends of each edge in turn."""
        return [
            vectors for edge, one in zip(self.recipe.edges, drawn, strict=True) for vectors in self._both(edge, one)
        ]

    def _both(self, edge: Edge, drawn: Drawn) -> tuple[Tensor, Tensor]:
        left, right = edge.ends
        return self._vectors(left, drawn.left), self._vectors(right, drawn.right)

    def _vectors(self, name: str, inputs: Tensor) -> Tensor:
        tower = self.nodes[name]
        with torch.set_grad_enabled(torch.is_grad_enabled() and tower.is_trained):
            return clips.embed(tower.module, inputs.to(self.device))

    def targets(self, drawn: list[Drawn]) -> list[Tensor]:
        return [one.kinds.to(self.device) for one in drawn]

    def loss(self, vectors: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        for at, (edge, source) in enumerate(zip(self.recipe.edges, self.sources, strict=True)):
            left, right, kinds = vectors[2 * at], vectors[2 * at + 1], targets[at]
            parts[edge.name] = edge.weight * losses.symmetric_info_nce(
                left, right, losses.same_class(kinds), temperature=self.temperature(edge), smoothing=edge.smoothing
            )
            if edge.prompt_weight and isinstance(source, LabelledSource):
                parts[f"{edge.name} prompts"] = (
                    edge.weight * edge.prompt_weight * self._prompts(edge, source, left, kinds)
                )
        return parts

    def _prompts(self, edge: Edge, source: LabelledSource, vectors: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            canonical = self._vectors(edge.ends[1], source.canonical).float()
        one_hot = nn.functional.one_hot(labels, len(canonical)).to(vectors.dtype)
        return losses.prompt_cross_entropy(
            vectors, canonical, one_hot, temperature=self.temperature(edge), smoothing=edge.smoothing
        )

    def temperature(self, edge: Edge) -> Tensor | float:
        """What the cosines of an edge are divided by."""
        if edge.name not in self.scales:
            return edge.temperature
        return torch.exp(-self.scales[edge.name].clamp(max=math.log(LARGEST_SCALE)))

    def temperature_now(self, edge: Edge) -> float:
        """The temperature as a number, for reports and for the scale of label probabilities."""
        return float(torch.as_tensor(self.temperature(edge)).detach())

    def name(self, drawn: list[Drawn], row: int) -> str:
        names = [f"{edge.name} {one.name(row)}" for edge, one in zip(self.recipe.edges, drawn, strict=True)]
        return "; ".join(names)
