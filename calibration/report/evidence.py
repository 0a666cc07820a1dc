"""What a report shows beside its numbers: cosines window by window, the worst windows, errors by depth, histograms with clips.

Gathered from the finished graphs, on windows that the gate has judged: as many of them as are affordable, evenly spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind import onnx_external
from edgebind.calibration import emulation, engine, gate, ladder, qdq
from edgebind.calibration.batches import Batch, count, spread
from edgebind.calibration.graph import Graph
from edgebind.calibration.histogram import BINS, Histogram, Range
from edgebind.calibration.observers import METHODS
from edgebind.calibration.report import layers
from edgebind.calibration.report.compare import Worst, located, worst_of
from edgebind.calibration.report.layers import Depth
from edgebind.labels import LabelBank

Reals = NDArray[np.float64]
Places = NDArray[np.intp]

GIGAMACS, MOST, LEAST = 60.0, 1024, 4
"""What one pass over the windows may cost, and how many there are at most and at least."""
DEEP_BYTES = 400_000_000
"""Of an FP32 graph, above which it is too dear to look at every tensor unasked."""
DEEP = 2
"""Windows whose inner tensors are compared."""
FOR_HISTOGRAMS = (20.0, 256, 4)
"""The same three of the windows that histograms are drawn of."""
TENSORS = 6
"""Histograms: those of the tensors that 8 bits blur most."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """How often one quantised tensor takes which value, and where 8 bits cut it off."""

    tensor: str
    counts: NDArray[np.int64]
    """Of equal bins over [-limit, limit]."""
    limit: float
    chosen: Range
    others: Mapping[str, Range]
    """Observer -> the range that it would have chosen of these windows."""
    sqnr_db: float
    """Mean square of the values by that of their error, decibel."""


@dataclass(frozen=True, slots=True)
class Relabelled:
    """A window whose nearest label is not FP32's."""

    recording: str
    start_s: float | None
    """Seconds from the recording's first window; None where nobody knows."""
    cosine: float
    was: str
    """FP32's."""
    now: str


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What was gathered of one bundle."""

    cosines: Mapping[str, Reals]
    """Graph -> (windows,) cosine to FP32."""
    of: int
    """Windows that the gate has judged, of which these are some or all."""
    worst: tuple[Worst, ...]
    relabelled: tuple[Relabelled, ...] | None
    """None where there are fewer than two labels."""
    depth: Depth | None
    clips: tuple[Clip, ...]


def gather(
    fp32: Path, graphs: Mapping[str, Path], calibration: Sequence[Batch], held_out: Sequence[Batch], bank: LabelBank
) -> Evidence:
    """Look at a bundle's graphs.

    Parameters
    ----------
    graphs: name in the bundle -> file; the first is what the layers, labels and windows are shown of.
    calibration: windows for the histograms; none, no histograms.
    """
    macs = max(1, sum(Graph.read(fp32).macs(held_out[0].inputs[:1], fp32).values()))
    judged = spread(held_out, _affordable(macs, GIGAMACS, MOST, LEAST))
    reference = engine.embed(fp32, judged, optimise=True)
    vectors = {name: _embed(name, graph, judged) for name, graph in graphs.items()}
    exact = reference.astype(np.float64)
    cosines = {name: np.einsum("ij,ij->i", exact, of.astype(np.float64)) for name, of in vectors.items()}
    first, graph = next(iter(graphs.items()))
    return Evidence(
        cosines,
        count(held_out),
        worst_of(judged, cosines[first]),
        relabelled(judged, cosines[first], gate.nearest(reference, bank), gate.nearest(vectors[first], bank), bank),
        _depth(fp32, graph, layers.deepest(judged, cosines[first], DEEP)),
        clips(graph, spread(calibration, _affordable(macs, *FOR_HISTOGRAMS))) if calibration else (),
    )


def relabelled(
    batches: Sequence[Batch], cosines: Reals, was: Places, now: Places, bank: LabelBank
) -> tuple[Relabelled, ...] | None:
    """The windows whose nearest label changes, in their order.

    Parameters
    ----------
    was, now: (windows,) places of the nearest labels in `bank`.
    """
    if len(bank) < 2:
        return None
    owners = located(batches)
    return tuple(
        Relabelled(
            owners[at][0].recording, owners[at][2], float(cosines[at]), *(bank.prompts[of[at]] for of in (was, now))
        )
        for at in np.flatnonzero(was != now).tolist()
    )


def _affordable(macs: int, gigamacs: float, most: int, least: int) -> int:
    """Windows of an encoder of so many multiply-accumulates."""
    return max(least, min(most, int(gigamacs * 1e9 / macs)))


def _embed(name: str, graph: Path, batches: Sequence[Batch]) -> NDArray[np.float32]:
    """As the gate does it: TensorRT's graph with half's rounding, one that this CPU's kernels would spoil as written."""
    if name == qdq.TENSORRT.file:
        return emulation.embed(graph, batches)
    scheme = next(scheme for scheme in qdq.SCHEMES if scheme.file == name)
    return engine.embed(graph, batches, optimise=ladder.runs_here(scheme))


def _depth(fp32: Path, graph: Path, few: Sequence[Batch]) -> Depth | None:
    files = [fp32, *(fp32.parent / name for name in onnx_external.locations(fp32))]
    if sum(file.stat().st_size for file in files) > DEEP_BYTES:
        return None
    return layers.compare(fp32, graph, few)


def clips(graph: Path, batches: Sequence[Batch], most: int = TENSORS) -> tuple[Clip, ...]:
    """Histograms of the tensors that a symmetric INT8 graph blurs most; none of a graph without Q/DQ pairs.

    The values are those that the graph's own QuantizeLinear nodes read: smoothed, and behind the errors of the layers before.
    """
    structure = Graph.read(graph)
    scales = {
        str(node.input[0]): float(structure.value(node.input[1]))
        for node in structure.model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in structure.weights
    }
    histograms = {name: Histogram() for name in scales}
    if not scales:
        return ()
    with engine.Tap(graph, list(scales), optimise=False) as tap:
        for batch in batches:
            for row in batch.inputs:
                for name, values in tap.run(row[None], batch.recording).items():
                    if name in histograms:
                        histograms[name].update(values.astype(np.float32))
    ratios = {name: sqnr(histograms[name], scale) for name, scale in scales.items()}
    blurred = sorted(ratios, key=ratios.__getitem__)[:most]
    return tuple(_clip(name, histograms[name], scales[name], ratios[name]) for name in blurred)


def _clip(name: str, histogram: Histogram, scale: float, ratio: float) -> Clip:
    others = {method: factory(histogram).range() for method, factory in METHODS.items()}
    chosen = -127 * scale, 127 * scale
    return Clip(name, histogram.counts, histogram.limit, chosen, others, ratio)


def sqnr(histogram: Histogram, scale: float) -> float:
    """Signal to quantisation noise of a symmetric INT8 grid, decibel.

    Outside the clip the error is what is cut off; inside it is that of rounding, scale² / 12 (Bennett 1948), for a histogram's
    bins may be coarser than the grid.
    """
    values = (np.arange(2 * BINS) + 0.5 - BINS) * histogram.limit / BINS
    share = histogram.counts / max(1, histogram.total)
    cut = np.maximum(np.abs(values) - 127.5 * scale, 0)
    noise = share @ cut**2 + (share * (cut == 0)).sum() * scale**2 / 12
    return float(10 * np.log10(max(share @ values**2, 1e-30) / max(noise, 1e-30)))
