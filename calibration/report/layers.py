"""Two graphs of one encoder, layer by layer: which tensor departs first, and where the error grows most.

Tensors are matched by name: an INT8 or FP16 graph that `edgebind export` writes keeps the names that its FP32 graph has for
what each node returns. Both graphs run as written, without the optimiser, which would fuse tensors away. Where calibration has
scaled the channels of some tensors (smoothing, equalisation), the FP32 graph is scaled likewise first: it computes the same.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import onnx_external
from edgebind.calibration import emulation, engine, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.transforms import rewrites
from edgebind.errors import CalibrationError

TOGETHER = 64
"""Tensors that are looked at in one pass: an attention map of a large tower takes megabytes, and there are hundreds."""
THRESHOLDS = {"fp32": 1e-3, "fp16": 2e-2, "int8": 1e-1}
"""Relative error from which on a layer has departed, by the coarser of the two graphs: rounding stays far below it."""
SHAPING = frozenset(
    {
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Identity",
        "Slice",
        "Split",
        "Concat",
        "Expand",
        "Gather",
    }
    | {"Cast", "Shape", "QuantizeLinear", "DequantizeLinear"}
)
"""Operators that compute nothing: their tensors depart where their inputs do."""


CANCELLING = frozenset({"Add", "Sub", "Sum", "Mean", "ReduceMean"})
"""Operators whose output may be far smaller than what they read: of near-equal numbers the difference is mostly rounding."""


@dataclass(frozen=True, slots=True)
class Departure:
    """How far one tensor is apart in two graphs."""

    tensor: str
    layer: str
    """How people know it: the name of its weight, if it has one."""
    op: str
    error: float
    """|b - a| / |a|, Euclidean, over all windows together."""
    cosine: float
    growth: float
    """Times the largest error among the tensors it is made of; infinite where those are the same."""
    inherited: float
    """That largest error."""
    own: float
    """What the operator answers for: the error by the size of what it reads, where a difference or a mean is smaller."""

    def to_dict(self) -> dict[str, Any]:
        rounded = {
            key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in asdict(self).items()
        }
        return rounded | ({"growth": None} if not np.isfinite(self.growth) else {})


@dataclass(frozen=True, slots=True)
class Depth:
    """All tensors that two graphs share, in the order of execution."""

    tensors: tuple[Departure, ...]
    windows: int
    threshold: float
    scaled: tuple[str, ...] = ()
    """Tensors whose channels calibration has scaled in one graph only, so that they and their readers differ by design."""

    @property
    def first(self) -> Departure | None:
        """The first that departs: beyond the threshold by what it answers for, and made of tensors that are not.

        The difference of near-equal numbers has a large error by its own small size. Nothing has gone wrong there, nor in
        what is made of it.
        """
        return next((t for t in self.tensors if t.own > self.threshold >= t.inherited), None)

    @property
    def why_none_departs(self) -> str:
        """Where `first` is None: what is above the threshold all the same, if anything is."""
        if all(tensor.error <= self.threshold for tensor in self.tensors):
            return f"no relative error above {self.threshold:g}"
        return f"errors above {self.threshold:g} only in differences of near-equal numbers, and what is made of them"

    @property
    def largest_step(self) -> Departure | None:
        """Where the error grows most, in what it adds to the error of what the tensor is made of."""
        steps = [t for t in self.tensors if t.error > t.inherited]
        return max(steps, key=lambda t: t.error - t.inherited, default=None)

    def to_dict(self) -> dict[str, Any]:
        first, step = self.first, self.largest_step
        return {
            "windows": self.windows,
            "threshold": self.threshold,
            "scaled_in_one_only": list(self.scaled),
            "first": None if first is None else first.to_dict(),
            "largest_step": None if step is None else step.to_dict(),
            "tensors": [tensor.to_dict() for tensor in self.tensors],
        }


def compare(a: Path, b: Path, batches: Sequence[Batch], threshold: float | None = None) -> Depth:
    """Run both graphs on a few windows and compare every tensor that both have.

    Parameters
    ----------
    threshold: relative error from which on a layer has departed; None takes that of the coarser precision.

    Raises
    ------
    CalibrationError: no tensor has the same name in both, or windows of the wrong shape.
    """
    with _alike(a, b) as (first, second, scaled):
        found, coarser = _compared((a, b), (first, second), batches)
    limit = THRESHOLDS[coarser] if threshold is None else threshold
    return Depth(found, sum(map(len, batches)), limit, scaled)


@contextlib.contextmanager
def _alike(a: Path, b: Path) -> Iterator[tuple[Path, Path, tuple[str, ...]]]:
    """Both graphs, the one that the other was calibrated on with the other's scalings; and what stays scaled in one only."""
    scalings = [_scalings(graph) for graph in (a, b)]
    with tempfile.TemporaryDirectory() as scratch:
        graphs, scaled = (
            [_rounding(graph, Path(scratch) / f"half{place}.onnx") for place, graph in enumerate((a, b))],
            [],
        )
        for place, other in ((0, 1), (1, 0)):
            known = scalings[other]
            if known is None or scalings[place] == known or not known.rewrites.scalings:
                continue
            own = (a, b)[place]
            if ranges.fingerprint(own) == known.graph:
                graphs[place] = Path(scratch) / "scaled.onnx"
                rewrites.write(own, known.rewrites, graphs[place])
            else:
                scaled += [scaling.tensor for scaling in known.rewrites.scalings]
        yield graphs[0], graphs[1], tuple(dict.fromkeys(scaled))


def _rounding(graph: Path, target: Path) -> Path:
    """The graph, or where it has halves what computes them on a CPU as a GPU would; ONNX Runtime alone rounds nothing."""
    if precision(Graph.read(graph)) == "fp32" or onnx_external.locations(graph):
        return graph
    emulation.write(graph, target)
    return target


def _scalings(graph: Path) -> ranges.Ranges | None:
    """The ranges of the bundle that a graph lies in."""
    file = graph.parent / ranges.FILE
    return ranges.read(file) if file.is_file() else None


def _compared(
    graphs: tuple[Path, Path], run: tuple[Path, Path], batches: Sequence[Batch]
) -> tuple[tuple[Departure, ...], str]:
    """Every tensor that both graphs have, and the coarser precision.

    Parameters
    ----------
    run: what is run in their place.
    """
    a, b = (_Structure.of(Graph.read(graph)) for graph in graphs)
    there = {name for _, _, outputs in b.nodes for name in outputs}
    shared = {outs[0]: op for op, _, outs in a.nodes if outs and outs[0] in there and op not in SHAPING}
    if not shared:
        raise CalibrationError("no tensor has the same name in both graphs", where=graphs[1])
    sums = _sums(*run, list(shared), batches)
    errors = {name: _error(parts) for name, parts in sums.items()}
    inherited = a.behind(errors)
    sizes = {name: float(np.sqrt(parts[0] / parts[4])) for name, parts in sums.items()}
    read = a.behind(sizes)
    found = []
    for name, op in shared.items():
        if name in errors:
            error, before = errors[name], inherited[name]
            growth = error / before if before else np.inf
            title = a.titles.get(name, name)
            cancelled = sizes[name] < read[name] and op in CANCELLING
            own = error * sizes[name] / read[name] if cancelled and sizes[name] else error
            found.append(Departure(name, title, op, error, _cosine(sums[name]), growth, before, own))
    return tuple(found), max(a.precision, b.precision, key=lambda name: THRESHOLDS[name])


@dataclass(frozen=True, slots=True)
class _Structure:
    """What a graph is without its weights, which would fill the memory while the graph itself runs."""

    nodes: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    """(operator, inputs, outputs) in the order of execution."""
    titles: Mapping[str, str]
    precision: str

    @classmethod
    def of(cls, graph: Graph) -> _Structure:
        nodes = tuple((node.op_type, tuple(node.input), tuple(node.output)) for node in graph.model.graph.node)
        return cls(nodes, {layer.name: layer.title for layer in graph.layers}, precision(graph))

    def behind(self, values: Mapping[str, float]) -> dict[str, float]:
        """Of each tensor, the largest of `values` among the nearest tensors with one that it is made of."""
        known: dict[str, float] = {}
        found: dict[str, float] = {}
        for _, inputs, outputs in self.nodes:
            before = max((known.get(name, 0.0) for name in inputs), default=0.0)
            for name in outputs:
                found[name] = before
                known[name] = values.get(name, before)
        return found


def precision(graph: Graph) -> str:
    """What a graph computes in, as far as its nodes and weights say."""
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.model.graph.node):
        return "int8"
    half = any(tensor.data_type == 10 for tensor in graph.weights.values())
    return "fp16" if half else "fp32"


Parts = NDArray[np.float64]
"""(a.a, b.b, a.b, (b - a).(b - a), numbers), summed over windows."""


def _sums(a: Path, b: Path, names: Sequence[str], batches: Sequence[Batch]) -> dict[str, Parts]:
    sums: dict[str, Parts] = {}
    for start in range(0, len(names), TOGETHER):
        some = names[start : start + TOGETHER]
        with engine.Tap(a, some, optimise=False) as first, engine.Tap(b, some, optimise=False) as second:
            for batch in batches:
                for row in batch.inputs:  # one by one: memory holds one window's tensors
                    _add(sums, some, first.run(row[None], batch.recording), second.run(row[None], batch.recording))
    return sums


def _add(
    sums: dict[str, Parts], names: Sequence[str], a: Mapping[str, NDArray[Any]], b: Mapping[str, NDArray[Any]]
) -> None:
    for name in names:
        if a[name].dtype.kind == "f" and b[name].dtype.kind == "f" and a[name].shape == b[name].shape:
            first, second = (values[name].astype(np.float64).ravel() for values in (a, b))
            apart = second - first
            parts = np.array([first @ first, second @ second, first @ second, apart @ apart, len(first)])
            sums[name] = sums.get(name, np.zeros(5)) + parts


def _error(parts: Parts) -> float:
    own, _, _, apart, _ = parts
    return float(np.sqrt(apart / own)) if own else float(np.sqrt(apart) and np.inf)


def _cosine(parts: Parts) -> float:
    lengths = np.sqrt(parts[0] * parts[1])
    return float(parts[2] / lengths) if lengths else float(parts[0] == parts[1])


def deepest(batches: Sequence[Batch], cosines: NDArray[np.float64], most: int) -> list[Batch]:
    """The windows with the least cosine, most of them at once where several are of one recording."""
    worst = set(np.argsort(cosines, kind="stable")[:most].tolist())
    return [batch.part(np.array(places)) for batch, places in _places(batches, worst) if places]


def _places(batches: Sequence[Batch], wanted: set[int]) -> Iterator[tuple[Batch, list[int]]]:
    start = 0
    for batch in batches:
        yield batch, [place for place in range(len(batch)) if start + place in wanted]
        start += len(batch)
