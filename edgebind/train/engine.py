"""One step of contrastive training, in memory that depends on the chunk and not on the batch.

    chunk 0 -> towers -> vectors ─┐
    chunk 1 -> towers -> vectors ─┼─ loss of the whole batch -> gradient of every vector
    chunk 2 -> towers -> vectors ─┘                                   │
    chunk k -> towers again, now remembering -> vectors <─────────────┘   gradient caching (Gao et al. 2021)

All chance of a chunk comes from (seed, step, number of the chunk). So a step does not depend on the steps before it but for
the weights; a run that was killed goes on exactly; and two processes that share the chunks compute what one would.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from edgebind import atomic
from edgebind.errors import EdgebindError, OptionError
from edgebind.train import processes
from edgebind.train.recipe import Training

Drawn = TypeVar("Drawn")
Parts = dict[str, float]
"""The loss of a step: `loss`, and beside it its parts by name where it has several."""


class Objective(Protocol[Drawn]):
    """What is trained, on what, to what end."""

    towers: nn.ModuleDict
    """What turns inputs into vectors and is trained."""
    scales: nn.ParameterDict
    """What the loss itself learns: temperatures. Often empty."""

    def train(self) -> None:
        """Bring the towers into training mode."""
        ...

    def draw(self, step: int, chunk: int, size: int, rng: np.random.Generator) -> Drawn:
        """The inputs of one chunk: a function of these arguments alone."""
        ...

    def embed(self, drawn: Drawn) -> list[Tensor]:
        """Vectors of a chunk, one (size, dim) tensor for each thing that is compared."""
        ...

    def targets(self, drawn: Drawn) -> list[Tensor]:
        """(size, ...) tensors that the loss must know of a chunk beside its vectors."""
        ...

    def loss(self, vectors: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """Named parts, to be added up, from the vectors and targets of the whole batch."""
        ...

    def name(self, drawn: Drawn, row: int) -> str:
        """Where a row of a chunk comes from, for messages."""
        ...


class Engine(Generic[Drawn]):
    """One training in progress: weights, their moving average, the optimiser, and the number of the next step."""

    def __init__(
        self, objective: Objective[Drawn], training: Training, *, seed: int, fingerprint: str, device: torch.device
    ) -> None:
        """Begin at step 0.

        Parameters
        ----------
        fingerprint: of all that decides the outcome; a state of another one is refused.

        Raises
        ------
        OptionError: the chunks cannot be dealt out evenly to the processes.
        """
        if training.chunks % processes.count():
            raise OptionError(
                "chunks cannot be dealt out evenly",
                wanted=f"training.batch / training.chunk to be a multiple of {processes.count()} processes",
                got=training.chunks,
            )
        self.objective, self.training, self.seed, self.fingerprint = objective, training, seed, fingerprint
        self.device = device
        objective.towers.to(device)
        objective.scales.to(device)
        self.average = copy.deepcopy(objective.towers).eval()
        self.optimiser = _optimiser(objective, training)
        self.step = 0

    def advance(self) -> Parts:
        """One step; returns its loss.

        Raises
        ------
        EdgebindError: the loss or its gradient is no number; names the step and the first row that is to blame.
        """
        how = self.training
        for group in self.optimiser.param_groups:
            group["lr"] = how.learning_rate * schedule(self.step, how.warmup_steps, how.steps)
        self.objective.train()
        self.optimiser.zero_grad(set_to_none=True)
        drawn = [self._draw(number) for number in self._mine()]
        parts = self._at_once(drawn[0]) if how.chunks == 1 else self._by_chunks(drawn)
        learned = [*self.objective.towers.parameters(), *self.objective.scales.parameters()]
        self._check_gradient(float(nn.utils.clip_grad_norm_(learned, how.clip)), drawn)
        self.optimiser.step()
        self._follow(min(how.average, (self.step + 1) / (self.step + 10)))
        self.step += 1
        return parts

    def _mine(self) -> range:
        """Numbers of the chunks that this process has."""
        share = self.training.chunks // processes.count()
        return range(processes.rank() * share, (processes.rank() + 1) * share)

    def _draw(self, number: int) -> Drawn:
        rng = np.random.default_rng([self.seed, self.step, number])
        return self.objective.draw(self.step, number, self.training.chunk_size, rng)

    def _at_once(self, drawn: Drawn) -> Parts:
        vectors = self._embed(drawn, 0)
        parts = self.objective.loss(vectors, self.objective.targets(drawn))
        self._check(parts, [drawn], [vectors])
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        return _plain(parts)

    def _by_chunks(self, drawn: list[Drawn]) -> Parts:
        statistics = _Statistics(self.objective.towers, self.training.chunks)
        with torch.no_grad():
            mine = [self._embed(one, number) for one, number in zip(drawn, self._mine(), strict=True)]
        whole = [processes.gather(torch.cat(rows)).requires_grad_() for rows in zip(*mine, strict=True)]
        known = zip(*(self.objective.targets(one) for one in drawn), strict=True)
        parts = self.objective.loss(whole, [processes.gather(torch.cat(rows)) for rows in known])
        self._check(parts, drawn, mine)
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        for one, number in zip(drawn, self._mine(), strict=True):
            rows = slice(number * self.training.chunk_size, (number + 1) * self.training.chunk_size)
            statistics.rewind()
            self._push(self._embed(one, number), [None if v.grad is None else v.grad[rows] for v in whole])
            statistics.note()
        processes.add_up(p.grad for p in self.objective.towers.parameters() if p.grad is not None)
        statistics.settle()
        return _plain(parts)

    def _push(self, vectors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Hand the gradients of a chunk's vectors on to the weights; a frozen anchor's vectors take none."""
        pairs = [(v, g) for v, g in zip(vectors, gradients, strict=True) if v.requires_grad and g is not None]
        torch.autograd.backward([v for v, _ in pairs], [g for _, g in pairs])

    def _embed(self, drawn: Drawn, number: int) -> list[Tensor]:
        # Dropout must fall alike when a chunk passes a second time.
        torch.manual_seed(int(np.random.SeedSequence([self.seed, self.step, number]).generate_state(1)[0]))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            vectors = self.objective.embed(drawn)
        return [vector.float() for vector in vectors]

    def _check(self, parts: Mapping[str, Tensor], drawn: Sequence[Drawn], vectors: Sequence[Sequence[Tensor]]) -> None:
        total = sum(part.item() for part in parts.values())
        if math.isfinite(total):
            return
        raise EdgebindError(
            f"the loss at step {self.step} is {total}", where=self._first_bad(drawn, vectors), remedy=BAD_LOSS
        )

    def _check_gradient(self, norm: float, drawn: Sequence[Drawn]) -> None:
        """A finite loss may have a gradient that is not: one step along it and every weight is lost."""
        if math.isfinite(norm):
            return
        where = f"batch {self.step}, which begins with {self.objective.name(drawn[0], 0)}"
        raise EdgebindError(f"the gradient at step {self.step} is {norm}", where=where, remedy=BAD_LOSS)

    def _first_bad(self, drawn: Sequence[Drawn], vectors: Sequence[Sequence[Tensor]]) -> str:
        for one, number, found in zip(drawn, self._mine(), vectors, strict=True):
            for rows in found:
                bad = (~torch.isfinite(rows).all(dim=1)).nonzero()
                if len(bad):
                    return (
                        f"batch {self.step}, chunk {number}, row {int(bad[0])}: {self.objective.name(one, int(bad[0]))}"
                    )
        return f"batch {self.step}, whose vectors are all finite"

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        new = self.objective.towers.state_dict()
        for kept, value in zip(self.average.state_dict().values(), new.values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(value, 1 - decay)
            else:
                kept.copy_(value)

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on; process 0 does it for all."""
        state = {
            "towers": self.objective.towers.state_dict(),
            "scales": self.objective.scales.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "fingerprint": self.fingerprint,
        }
        if processes.rank() == 0:
            with atomic.file(path) as scratch:
                torch.save(state, scratch)

    def restore(self, path: Path) -> None:
        """Stand where `save` stood.

        Raises
        ------
        OptionError: the state belongs to another recipe, or cannot be read.
        """
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
        except Exception as error:  # torch promises no kinds of error for a damaged file
            raise OptionError("the state of the run cannot be read", where=path, remedy="remove it") from error
        if state["fingerprint"] != self.fingerprint:
            raise OptionError(
                "the run in progress has another recipe", where=path, remedy="remove it or name another out"
            )
        self.objective.towers.load_state_dict(state["towers"])
        self.objective.scales.load_state_dict(state["scales"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


BAD_LOSS = "look at that recording, or lower training.learning_rate"


def schedule(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to zero: 0 to 1."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _optimiser(objective: Objective[Any], how: Training) -> torch.optim.Optimizer:
    # Biases, norms and temperatures are not decayed: pulling a scale towards zero only fights the layer before it.
    weights = [p for p in objective.towers.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": how.weight_decay},
        {"params": [*(p for p in weights if p.ndim <= 1), *objective.scales.parameters()], "weight_decay": 0.0},
    ]
    first, second = how.betas
    return torch.optim.AdamW(groups, lr=how.learning_rate, betas=(first, second))


class _Statistics:
    """BatchNorm's running statistics over a step: the mean of what each chunk alone would have made of them.

    A first pass leaves no trace, and it does not matter how the chunks are dealt out.
    """

    def __init__(self, towers: nn.Module, chunks: int) -> None:
        self._buffers = [buffer for buffer in towers.buffers() if buffer.is_floating_point()]
        self._counters = [buffer for buffer in towers.buffers() if not buffer.is_floating_point()]
        self._before = [buffer.clone() for buffer in (*self._buffers, *self._counters)]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers]
        self._chunks = chunks

    def rewind(self) -> None:
        """Stand where the step began."""
        for buffer, before in zip((*self._buffers, *self._counters), self._before, strict=True):
            buffer.copy_(before)

    def note(self) -> None:
        """Remember what a chunk has changed: nothing at all in a tower that is frozen, whose statistics then keep every bit."""
        for total, buffer, before in zip(self._sums, self._buffers, self._before, strict=False):
            total.add_(buffer - before)

    def settle(self) -> None:
        """Take the mean over all chunks of all processes."""
        processes.add_up(self._sums)
        for buffer, total, before in zip(self._buffers, self._sums, self._before, strict=False):
            buffer.copy_(before + total / self._chunks)


def _plain(parts: Mapping[str, Tensor]) -> Parts:
    values = {name: part.item() for name, part in parts.items()}
    total = sum(values.values())
    return {"loss": total, **values} if len(values) > 1 else {"loss": total}
