"""A small objective with all that can go wrong in a step: two towers, dropout, BatchNorm and a learned temperature.

Run as a script, it is one process of several: `python tests/train/objectives.py OUT.pt`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebind.train import losses, processes
from edgebind.train.engine import Engine
from edgebind.train.recipe import Training

CPU = torch.device("cpu")
Drawn = tuple[Tensor, Tensor, Tensor]


def tower(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8))


class TwoTowers:
    """Rows of 6 and rows of 5 that come from one hidden row of 3."""

    def __init__(self, poison_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.towers = nn.ModuleDict({"left": tower(6), "right": tower(5)})
        self.scales = nn.ParameterDict({"edge": nn.Parameter(torch.tensor(2.0))})
        rng = np.random.default_rng(1)
        self._views = rng.normal(size=(3, 6)), rng.normal(size=(3, 5))
        self._poison_at = poison_at

    def train(self) -> None:
        self.towers.train()

    def draw(self, step: int, chunk: int, size: int, rng: np.random.Generator) -> Drawn:
        hidden = rng.normal(size=(size, 3))
        left, right = (torch.tensor(hidden @ view, dtype=torch.float32) for view in self._views)
        if step == self._poison_at and chunk == 1:
            right[2] = torch.nan
        return left, right, torch.from_numpy(rng.integers(0, 1000, size))

    def embed(self, drawn: Drawn) -> list[Tensor]:
        return [functional.normalize(self.towers[name](x), dim=1) for name, x in zip(self.towers, drawn, strict=False)]

    def targets(self, drawn: Drawn) -> list[Tensor]:
        return [drawn[2]]

    def loss(self, vectors: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        temperature = torch.exp(-self.scales["edge"])
        positives = losses.same_class(targets[0])
        return {"edge": losses.symmetric_info_nce(vectors[0], vectors[1], positives, temperature=temperature)}

    def name(self, drawn: Drawn, row: int) -> str:
        return f"item {int(drawn[2][row])}"


def engine(chunk: int, *, objective: TwoTowers | None = None, steps: int = 6) -> Engine[Drawn]:
    how = Training(steps=steps, batch=24, chunk=chunk, learning_rate=0.01, warmup_steps=2, clip=1e9)
    return Engine(objective or TwoTowers(), how, seed=7, fingerprint="two towers", device=CPU)


def gradients(of: Engine[Drawn]) -> dict[str, Tensor]:
    named = {**dict(of.objective.towers.named_parameters()), **dict(of.objective.scales.named_parameters())}
    return {name: p.grad.clone() for name, p in named.items() if p.grad is not None}


def main(out: Path) -> None:
    """Three steps; process 0 writes their losses, the last gradients, the towers, and the threads left when all is over."""
    with processes.joined(CPU):
        first = processes.rank() == 0
        running = engine(chunk=6)
        values = [running.advance()["loss"] for _ in range(3)]
    if first:
        threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
        towers = running.objective.towers.state_dict()
        torch.save({"losses": values, "gradients": gradients(running), "towers": towers, "threads": threads}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
