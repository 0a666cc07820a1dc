"""How much each layer hurts in INT8, on what the vectors are for, and what it saves.

Damage is measured with the layer alone in INT8, all others in float: on the cosine to FP32, and on how often the nearest label
changes. Of large encoders whole blocks are measured first, and single layers only of blocks that do harm.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgebind.calibration import cost, engine, gate, qdq
from edgebind.calibration.batches import Batch
from edgebind.calibration.cost import Saving
from edgebind.calibration.gate import FINEST, Bars, Comparison
from edgebind.calibration.graph import Quantisable
from edgebind.calibration.journal import Journal
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.subject import Subject
from edgebind.calibration.switches import Switchboard
from edgebind.closing import Closing

FEW = 24
"""Layers that are measured one by one without asking their blocks first."""
HARMLESS = 0.02
"""A block that uses up less than this share of what the bars forgive is not looked into."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One layer in INT8."""

    layer: str
    damage: float
    """1 - mean cosine to FP32 with this layer alone in INT8, in the worst graph."""
    disagreement: float | None
    """Share of windows whose nearest label changes; None where the bundle knows no labels."""
    saved_us: float
    """Microseconds of one window that INT8 saves."""
    basis: str
    """Where `saved_us` is from: `measured` on this CPU or `estimated`, see `edgebind.calibration.cost`."""
    within: str = ""
    """The harmless block that was measured in place of the layer; `damage` is then the layer's part of it, by MACs."""

    def gain(self, bars: Bars) -> float:
        """What returning the layer to float wins for each microsecond that it costs: damage in units of what the bars forgive."""
        lost = self.damage / max(1 - bars.cosine_mean, FINEST)
        lost += (self.disagreement or 0.0) / max(1 - bars.agreement, FINEST)
        return lost / max(self.saved_us, 1e-3)

    def to_dict(self, title: str) -> dict[str, Any]:
        """As `report.json` has it."""
        facts = {key: round(value, 7) if isinstance(value, float) else value for key, value in asdict(self).items()}
        return {**facts, "layer": title, "tensor": self.layer}


class Probe(Closing):
    """Measures any choice of INT8 layers on the same windows, and no choice twice.

    Both kinds of graph are asked and the worse counts, since a CPU's convolutions also write 8 bits, which TensorRT's do not:
    a layer may hurt in one and be harmless in the other. Without convolutions a CPU's graph only has finer grids.
    """

    def __init__(self, subject: Subject, ranges: Ranges, batches: Sequence[Batch], journal: Journal) -> None:
        self.subject = subject
        self.journal = journal
        self._ranges = ranges
        self._batches = batches
        self._boards: tuple[Switchboard, ...] = ()

    def measure(self, quantised: Collection[str]) -> Comparison:
        """Compare the encoder, with the layers `quantised` in INT8, with FP32."""
        known = self.journal.find(quantised)
        if known is not None:
            return known
        self._open()
        found = {
            str(place): gate.compare(self._reference, board.embed(self._batches, quantised), self.subject.bank)
            for place, board in enumerate(self._boards)
        }
        comparison = gate.worst(found)
        self.journal.note(quantised, comparison)
        return comparison

    def keeping(self, kept: Collection[str]) -> Comparison:
        """Compare with the layers `kept` in float and all others in INT8."""
        return self.measure([layer.name for layer in self.subject.layers if layer.name not in kept])

    def savings(self) -> dict[str, Saving]:
        """What each layer saves in INT8."""
        if self.journal.times is None:
            self.journal.note_times(cost.race(self.subject, self._ranges, self._batches[0]))
        return cost.savings(self.subject, self.journal.times or {}, cost.shapes(self.subject, self._batches[0]))

    def _open(self) -> None:
        if self._boards:
            return
        subject = self.subject
        self._reference = engine.embed(subject.graph, self._batches, optimise=True)
        convolves = any(layer.op == "Conv" for layer in subject.layers)
        schemes = (qdq.TENSORRT, qdq.U8U8) if convolves else (qdq.TENSORRT,)
        self._boards = tuple(Switchboard(subject.graph, self._ranges, scheme, subject.scratch) for scheme in schemes)

    def close(self) -> None:
        """Let go of the graphs."""
        for board in self._boards:
            board.close()
        self._boards = ()


def measure(probe: Probe, bars: Bars) -> list[Sensitivity]:
    """Every layer's sensitivity, in the order of `Sensitivity.gain`: first what should return to float first."""
    layers, savings = probe.subject.layers, probe.savings()
    found: list[Sensitivity] = []
    for block in _blocks(layers):
        for layer, damage, disagreement, within in _of_block(probe, block, bars, len(found)):
            saving = savings[layer.name]
            found.append(Sensitivity(layer.name, damage, disagreement, saving.microseconds, saving.basis, within))
    return sorted(found, key=lambda item: -item.gain(bars))


def _blocks(layers: Sequence[Quantisable]) -> list[list[Quantisable]]:
    """Layers by block, where there are many; else each by itself."""
    blocks: dict[str, list[Quantisable]] = {}
    for layer in layers:
        blocks.setdefault(layer.name if len(layers) <= FEW else layer.block, []).append(layer)
    return list(blocks.values())


Measured = tuple[Quantisable, float, float | None, str]
"""A layer, its damage and disagreement, and the block that was measured in its place."""


def _of_block(probe: Probe, block: Sequence[Quantisable], bars: Bars, done: int) -> list[Measured]:
    if len(block) > 1:
        whole = _alone(probe, block, done)
        if whole.spent(bars) < HARMLESS:
            return _shared_out(probe.subject, block, whole)
    return [_single(layer, _alone(probe, [layer], done + place)) for place, layer in enumerate(block)]


def _alone(probe: Probe, layers: Sequence[Quantisable], done: int) -> Comparison:
    probe.subject.steps("damage of layers", done, len(probe.subject.layers))
    return probe.measure([layer.name for layer in layers])


def _single(layer: Quantisable, found: Comparison) -> Measured:
    return layer, _damage(found), _disagreement(found), ""


def _shared_out(subject: Subject, block: Sequence[Quantisable], found: Comparison) -> list[Measured]:
    total = sum(subject.macs[layer.name] for layer in block)
    parts = [subject.macs[layer.name] / max(1, total) for layer in block]
    lost = _disagreement(found)
    return [
        (layer, _damage(found) * part, None if lost is None else lost * part, layer.block)
        for layer, part in zip(block, parts, strict=True)
    ]


def _damage(found: Comparison) -> float:
    return max(0.0, 1 - found.cosine_mean)


def _disagreement(found: Comparison) -> float | None:
    return None if found.agreement is None else 1 - found.agreement
