"""INT8 step by step: gate the graphs, and return the layers that hurt most to float until they pass.

    gate fails -> sensitivity of each layer -> return the one that wins most for a microsecond, measure the whole, again
               -> put back what turns out not to be needed -> gate -> FP16 around what is INT8, if the gate bears it

Everything of the search is measured on calibration recordings; only the gate sees the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgebind import cpu
from edgebind.calibration import emulation, engine, gate, qdq, sensitivity
from edgebind.calibration.batches import Batch, Material, count, spread
from edgebind.calibration.gate import Bars, Comparison
from edgebind.calibration.journal import Journal
from edgebind.calibration.qdq import Scheme
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.search import Search, layers_in_float
from edgebind.calibration.sensitivity import Probe, Sensitivity
from edgebind.calibration.subject import Subject
from edgebind.errors import BackendError

SEARCH_GIGAMACS, SEARCH_WINDOWS = 100.0, 128
"""What one measurement of the search may cost, and the most windows it looks at."""
REPORT_GIGAMACS, REPORT_WINDOWS = 20.0, 32
"""What the sensitivities may cost when the gate has passed and only the report wants them."""

ToHalf = Callable[[Path, Path], Sequence[str]]
"""Writes the second graph, with all in half that can be, from the first; returns the products that could not."""


@dataclass(frozen=True, slots=True)
class Remainder:
    """What of the TensorRT graph is not INT8."""

    precision: str = "float32"
    products_in_float32: tuple[str, ...] = ()
    """Of a remainder in float16: what half could not hold."""
    refused: str = ""
    """Why it is not in float16, if that was tried."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcome:
    """INT8 graphs that passed the gate."""

    files: dict[str, Path]
    comparisons: dict[str, Comparison]
    kept: tuple[str, ...]
    """Layers in float, in the order in which they were returned."""
    sensitivities: tuple[Sensitivity, ...] = ()
    """Of each layer, first the one that it helps most to return; empty when nobody had to ask."""
    remainder: Remainder = field(default_factory=Remainder)

    @property
    def least(self) -> Comparison:
        """The worst of the graphs."""
        return gate.worst(self.comparisons)

    @property
    def damages(self) -> dict[str, float]:
        """Layer -> 1 - mean cosine when it alone is quantised, in the worst graph; largest first."""
        ordered = sorted(self.sensitivities, key=lambda item: -item.damage)
        return {item.layer: item.damage for item in ordered}


def climb(
    subject: Subject,
    ranges: Ranges,
    material: Material,
    bars: Bars,
    aim: Bars,
    journal: Journal,
    to_half: ToHalf | None = None,
) -> Outcome:
    """Write the three graphs; while they miss `bars`, or `aim` at little cost, return more layers to float.

    Parameters
    ----------
    to_half: makes FP16 of what is not INT8 in the TensorRT graph; None leaves it in float32.
    journal: what the search has measured, so that one that is killed can go on.

    Raises
    ------
    GateError: the bars are missed even with a single layer left in INT8.
    """
    windows = subject.affordable(material.calibration, SEARCH_GIGAMACS, SEARCH_WINDOWS)
    gate_ = _Gate(subject, ranges, material.held_out)
    outcome = _passed(gate_, windows, journal, bars, aim)
    return outcome if to_half is None else gate_.halved(outcome, to_half, bars, aim)


def _passed(gate_: _Gate, windows: Sequence[Batch], journal: Journal, bars: Bars, aim: Bars) -> Outcome:
    subject, ranges = gate_.subject, gate_.ranges
    if journal.resumed:  # the gate has been asked, and said no
        subject.progress(f"going on with a search of {journal.resumed} measurements")
    else:
        outcome = gate_.judge(())
        if outcome.least.meets(aim) and outcome.least.meets(bars):
            return replace(outcome, sensitivities=_for_the_report(subject, ranges, windows, aim))
    with Probe(subject, ranges, windows, journal) as probe:
        return _returned(gate_, Search(probe, bars, aim), bars, aim)


def _returned(gate_: _Gate, search: Search, bars: Bars, aim: Bars) -> Outcome:
    """What the search found, and one layer more as long as the held-out windows say so."""
    kept = search.reach()
    while True:
        outcome = replace(gate_.judge(kept), sensitivities=tuple(search.ranking))
        if outcome.least.meets(aim) and outcome.least.meets(bars):
            return outcome
        following = search.following(kept, must=not outcome.least.meets(bars))
        if following is None:
            what = f"INT8 of {gate_.subject.graph.name}, even with {layers_in_float(len(kept))},"
            gate.require(outcome.least, bars, what, remedy="calibrate on more recordings, or use --precision fp16")
            return outcome
        kept = [*kept, following]


def _for_the_report(subject: Subject, ranges: Ranges, windows: Sequence[Batch], bars: Bars) -> tuple[Sensitivity, ...]:
    """The sensitivities of an encoder that needs no search, if they cost next to nothing."""
    few = spread(windows, REPORT_WINDOWS)
    if subject.total * len(subject.layers) * count(few) > REPORT_GIGAMACS * 1e9:
        return ()
    with Probe(subject, ranges, few, Journal(None, "", [layer.name for layer in subject.layers])) as probe:
        return tuple(sensitivity.measure(probe, bars))


class _Gate:
    """Writes the three graphs and compares them with FP32 on the held-out windows."""

    def __init__(self, subject: Subject, ranges: Ranges, held_out: Sequence[Batch]) -> None:
        self.subject = subject
        self.ranges = ranges
        self._held_out = held_out
        self._reference = engine.embed(subject.graph, held_out, optimise=True)

    def judge(self, kept: Sequence[str]) -> Outcome:
        """The graphs with the layers `kept` in float."""
        in_float = f", {layers_in_float(len(kept))}" if kept else ""
        self.subject.progress(f"gate on {count(self._held_out)} held-out windows{in_float}")
        files, comparisons = {}, {}
        for scheme in qdq.SCHEMES:
            files[scheme.file] = self.subject.scratch / scheme.file
            comparisons[scheme.file] = _judge(self.subject, self.ranges, scheme, self._held_out, self._reference, kept)
        return Outcome(files, comparisons, tuple(kept))

    def halved(self, outcome: Outcome, to_half: ToHalf, bars: Bars, aim: Bars) -> Outcome:
        """The outcome with FP16 around INT8 in the TensorRT graph, if that meets what the graph met before."""
        self.subject.progress("FP16 around INT8")
        graph = outcome.files[qdq.TENSORRT.file]
        half = graph.with_name("half.onnx")
        in_float = to_half(graph, half)
        try:
            vectors = emulation.embed(half, self._held_out)
        except BackendError:  # somewhere half overflows, and what comes out are no numbers
            half.unlink()
            return replace(outcome, remainder=Remainder(refused="half overflows"))
        found = gate.compare(self._reference, vectors, self.subject.bank)
        before = outcome.comparisons[qdq.TENSORRT.file]
        if not all(found.meets(wanted) for wanted in (bars, aim) if before.meets(wanted)):
            half.unlink()
            return replace(outcome, remainder=Remainder(refused=str(found)))
        half.replace(graph)
        comparisons = {**outcome.comparisons, qdq.TENSORRT.file: found}
        return replace(outcome, comparisons=comparisons, remainder=Remainder("float16", tuple(in_float)))


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
