"""INT8 step by step: choose an observer, gate the graphs, and return the layers that hurt most to float until they pass.

The observer is chosen, and each layer's damage measured, on calibration recordings; only the gate sees the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgebind import cpu
from edgebind.calibration import engine, gate, qdq
from edgebind.calibration.batches import Batch, count, spread
from edgebind.calibration.gate import Bars, Comparison
from edgebind.calibration.graph import Graph, Layer
from edgebind.calibration.qdq import Scheme
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.weights import SCALINGS
from edgebind.labels import LabelBank

Progress = Callable[[str], None]

LEAST_SHARE = 0.9
"""Below this share of MACs in INT8 the ladder stops reaching for the aim; the bars themselves may cost more."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being quantised, and what it is judged by."""

    graph: Path
    """The FP32 encoder."""
    layers: tuple[Layer, ...]
    macs: Mapping[str, int]
    """Of every product in the graph, one window."""
    bank: LabelBank
    scratch: Path
    progress: Progress

    @classmethod
    def of(cls, graph: Path, example: Batch, bank: LabelBank, scratch: Path, progress: Progress) -> Subject:
        structure = Graph.read(graph)
        return cls(graph, structure.layers, structure.macs(example.inputs[:1], graph), bank, scratch, progress)

    def share(self, keep: Collection[str] = ()) -> float:
        """Share of all multiply-accumulates that INT8 does when the layers `keep` stay in float."""
        quantised = sum(self.macs[layer.name] for layer in self.layers if layer.name not in keep)
        return quantised / max(1, sum(self.macs.values()))

    def affordable(self, batches: Sequence[Batch], gigamacs: float, most: int, least: int = 8) -> list[Batch]:
        """As many windows, evenly spread, as `gigamacs` allow for; about `least` whatever they cost."""
        limit = int(gigamacs * 1e9 / max(1, sum(self.macs.values())))
        return spread(batches, max(least, min(most, limit)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """INT8 graphs that passed the gate."""

    files: dict[str, Path]
    comparisons: dict[str, Comparison]
    kept: tuple[str, ...]
    """Layers in float, in the order in which they were returned."""
    damages: dict[str, float]
    """Layer -> 1 - mean cosine when it alone is quantised, in the worst graph; empty when nobody had to ask."""


def choose(subject: Subject, ranges: Mapping[str, Ranges], batches: Sequence[Batch]) -> tuple[str, dict[str, float]]:
    """The method whose TensorRT graph stays closest to FP32 on `batches`, and every method's mean cosine."""
    reference = engine.embed(subject.graph, batches, optimise=True)
    scores = {}
    for method, of in ranges.items():
        subject.progress(f"trying {method} ranges")
        scores[method] = _judge(subject, of, qdq.TENSORRT, batches, reference).cosine_mean
    return max(scores, key=lambda method: round(scores[method], 5)), scores


def choose_weights(subject: Subject, ranges: Ranges, batches: Sequence[Batch]) -> tuple[Ranges, dict[str, float]]:
    """`ranges` with the scaling of weights whose TensorRT graph stays closest to FP32, and every scaling's mean cosine."""
    reference = engine.embed(subject.graph, batches, optimise=True)
    scores = {}
    for scaling in SCALINGS:
        subject.progress(f"trying {scaling} scales of weights")
        tried = replace(ranges, weights=scaling)
        scores[scaling] = _judge(subject, tried, qdq.TENSORRT, batches, reference).cosine_mean
    return replace(ranges, weights=max(scores, key=lambda scaling: round(scores[scaling], 5))), scores


def damages(subject: Subject, ranges: Ranges, batches: Sequence[Batch]) -> dict[str, float]:
    """Each layer's own damage, largest first: 1 - mean cosine to FP32 when only this layer is quantised.

    That of the worst of the three graphs, as the gate judges: a CPU's convolution also writes 8 bits, which TensorRT's does
    not, and there a layer may hurt that is harmless in the other graph.
    """
    reference = engine.embed(subject.graph, batches, optimise=True)
    names = [layer.name for layer in subject.layers]
    found = {}
    # Aside, so that the graphs that the gate has judged stay what they are: they may be the ones that are kept.
    with tempfile.TemporaryDirectory(dir=subject.scratch) as aside:
        alone = replace(subject, scratch=Path(aside))
        for place, name in enumerate(names, start=1):
            subject.progress(f"measuring the damage of layer {place} of {len(names)}")
            others = [other for other in names if other != name]
            _, comparisons = _graphs(alone, ranges, batches, reference, others)
            found[name] = 1 - gate.worst(comparisons).cosine_mean
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def climb(
    subject: Subject, ranges: Ranges, calibration: Sequence[Batch], held_out: Sequence[Batch], bars: Bars, aim: Bars
) -> Outcome:
    """Write the three graphs; while they miss `bars`, or `aim` at little cost, return one more layer to float.

    Raises
    ------
    GateError: the bars are missed even with a single layer left in INT8.
    """
    reference = engine.embed(subject.graph, held_out, optimise=True)
    order: dict[str, float] = {}
    kept: list[str] = []
    while True:
        subject.progress(
            f"gate on {count(held_out)} held-out windows" + (f", {len(kept)} layers in float" if kept else "")
        )
        outcome = Outcome(*_graphs(subject, ranges, held_out, reference, kept), tuple(kept), order)
        least = gate.worst(outcome.comparisons)
        if least.meets(aim) and least.meets(bars):
            return outcome
        order = order or damages(subject, ranges, subject.affordable(calibration, 100, 32))
        following = next((name for name in order if name not in kept), None)
        too_costly = following is None or subject.share([*kept, following]) < LEAST_SHARE
        if too_costly and least.meets(bars):
            return Outcome(outcome.files, outcome.comparisons, outcome.kept, order)
        if following is None or len(kept) + 1 == len(subject.layers):
            gate.require(least, bars, f"INT8 of {subject.graph.name}, even with {len(kept)} layers in float,")
            return outcome
        kept.append(following)


def _graphs(
    subject: Subject, ranges: Ranges, batches: Sequence[Batch], reference: Any, keep: Sequence[str]
) -> tuple[dict[str, Path], dict[str, Comparison]]:
    files, comparisons = {}, {}
    for scheme in qdq.SCHEMES:
        files[scheme.file] = subject.scratch / scheme.file
        comparisons[scheme.file] = _judge(subject, ranges, scheme, batches, reference, keep)
    return files, comparisons


def _judge(
    subject: Subject,
    ranges: Ranges,
    scheme: Scheme,
    batches: Sequence[Batch],
    reference: Any,
    keep: Collection[str] = (),
) -> Comparison:
    target = subject.scratch / scheme.file
    qdq.write(subject.graph, ranges, scheme, target, keep)
    return gate.compare(reference, engine.embed(target, batches, optimise=runs_here(scheme)), subject.bank)


def runs_here(scheme: Scheme) -> bool:
    """Whether this processor's kernels compute the graph rightly, so that it is judged as it will run.

    Elsewhere it is judged as written: the U8S8 kernels of a processor without VNNI saturate, and a TensorRT graph is
    none of ONNX Runtime's business.
    """
    return scheme is qdq.U8U8 or (scheme is qdq.U8S8 and cpu.has_vnni())
