"""What is being quantised, and what it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebind.calibration.batches import Batch, spread
from edgebind.calibration.graph import Graph, Layer, Quantisable
from edgebind.labels import LabelBank

Progress = Callable[[str], None]
"""Called with the stage that begins."""

Steps = Callable[[str, int, int], None]
"""Called with a stage, the step of it that is done, counted from 0, and how many there are."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An encoder with its layers, what they cost, and the labels its vectors are for."""

    graph: Path
    """The FP32 encoder."""
    layers: tuple[Quantisable, ...]
    """All that can be INT8."""
    macs: Mapping[str, int]
    """Of every product in the graph, one window."""
    bank: LabelBank
    scratch: Path
    progress: Progress
    steps: Steps = lambda stage, step, steps: None

    @classmethod
    def of(
        cls,
        graph: Path,
        example: Batch,
        bank: LabelBank,
        scratch: Path,
        progress: Progress,
        steps: Steps = lambda stage, step, steps: None,
        *,
        attention: bool = False,
    ) -> Subject:
        """Of a graph, and with `attention` also of its products of two activations.

        Parameters
        ----------
        example: windows of the right shape; one is run.
        """
        structure = Graph.read(graph)
        macs = structure.macs(example.inputs[:1], graph)
        return cls(graph, structure.quantisable(attention), macs, bank, scratch, progress, steps)

    @property
    def weighted(self) -> tuple[Layer, ...]:
        """The layers, without attention's products."""
        return tuple(layer for layer in self.layers if isinstance(layer, Layer))

    @property
    def attention(self) -> bool:
        """Whether attention's products are among what can be INT8."""
        return len(self.weighted) < len(self.layers)

    @property
    def total(self) -> int:
        """Multiply-accumulates of one window."""
        return sum(self.macs.values())

    def share(self, keep: Collection[str] = ()) -> float:
        """Share of all multiply-accumulates that INT8 does when the layers `keep` stay in float."""
        quantised = sum(self.macs[layer.name] for layer in self.layers if layer.name not in keep)
        return quantised / max(1, self.total)

    def affordable(self, batches: Sequence[Batch], gigamacs: float, most: int, least: int = 8) -> list[Batch]:
        """As many windows, evenly spread, as `gigamacs` allow for; about `least` whatever they cost."""
        limit = int(gigamacs * 1e9 / max(1, self.total))
        return spread(batches, max(least, min(most, limit)))
