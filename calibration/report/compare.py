"""Any two bundles, graphs or backends on the same windows: how far their vectors are apart, and where it begins.

bundle      read and run as a device would, on any backend
graph       an ONNX encoder; what prepares its windows is the other side's bundle, or `like`
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import bundle as bundles
from edgebind.backends.base import Backend
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.calibration import gate
from edgebind.calibration.batches import Batch, count, pieces, spread
from edgebind.calibration.gate import Comparison
from edgebind.calibration.report import layers
from edgebind.calibration.report.layers import Depth
from edgebind.calibration.windows import recordings
from edgebind.errors import OptionError
from edgebind.labels import LabelBank
from edgebind.manifest import Manifest
from edgebind.signals import NANOSECONDS
from edgebind.sources.units import Units

FORMAT = "edgebind-comparison/1"
BATCH = 8
WORST = 6
"""Windows that are shown."""
DEEP = 4
"""Windows whose inner tensors are compared."""

Progress = Callable[[str], None]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Options:
    """How to compare."""

    backends: tuple[str, str] = ("auto", "auto")
    like: Path | None = None
    """Bundle whose windows and preprocessing two bare graphs read."""
    windows: int = 512
    """At most about so many, evenly spread."""
    threshold: float | None = None
    """See `edgebind.calibration.report.layers.compare`."""
    deep: bool = True
    """Compare inner tensors too, where both sides are ONNX graphs."""
    units: Units | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two, loaded."""

    path: Path
    runtime: str
    """Its backend's name, and the graph it runs."""
    backend: Backend
    description: Manifest | None
    """None of a bare graph."""
    bank: LabelBank | None
    graph: Path | None
    """The ONNX graph that is run, if it is one."""


@dataclass(frozen=True, slots=True)
class Worst:
    """One of the windows that are farthest apart."""

    recording: str
    start_s: float | None
    """Seconds from the recording's first window; None where nobody knows."""
    cosine: float
    inputs: NDArray[Any]
    """As the encoder reads it."""

    def to_dict(self) -> dict[str, Any]:
        return {"recording": self.recording, "start_s": self.start_s, "cosine": round(self.cosine, 6)}


@dataclass(frozen=True, slots=True)
class Compared:
    """What two sides say of the same windows."""

    a: str
    b: str
    runtimes: tuple[str, str]
    comparison: Comparison
    cosines: Reals
    """(windows,)"""
    by_recording: dict[str, tuple[int, float, float]]
    """Recording -> windows, mean and least cosine."""
    worst: tuple[Worst, ...]
    depth: Depth | None
    why_no_depth: str
    """Empty where there is one."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "a": self.a,
            "b": self.b,
            "runtimes": list(self.runtimes),
            "vectors": self.comparison.to_dict(),
            "recordings": {
                name: {"windows": windows, "cosine_mean": round(mean, 6), "cosine_min": round(least, 6)}
                for name, (windows, mean, least) in self.by_recording.items()
            },
            "worst": [one.to_dict() for one in self.worst],
            "layers": self.why_no_depth if self.depth is None else self.depth.to_dict(),
        }


def compare(
    a: Path, b: Path, paths: Sequence[Path], options: Options | None = None, progress: Progress = lambda stage: None
) -> Compared:
    """Run two sides on the windows of some recordings.

    Raises
    ------
    OptionError: sides that read different windows or speak of different spaces, or of which nobody knows what they read.
    BundleError, BackendError, RecordingError, CalibrationError: one that cannot be read or run.
    """
    options = options or Options()
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(_open(path, name)) for path, name in zip((a, b), options.backends, strict=True)]
        description = _description(sides, options.like)
        progress("read recordings")
        batches = [one.batch() for one in recordings.read(paths, description, options.units)]
        batches = spread(batches, options.windows)
        progress(f"run both on {count(batches)} windows")
        first, second = (_embed(side, batches) for side in sides)
    bank = next((side.bank for side in sides if side.bank is not None), LabelBank.empty(first.shape[1]))
    return _compared(
        sides, batches, first, second, bank, options, progress
    )  # both are closed: memory is for the layers


@contextlib.contextmanager
def _open(path: Path, backend: str) -> Iterator[Side]:
    if path.suffix == ".onnx":
        if backend not in ("auto", "onnxruntime"):
            raise OptionError("a bare graph runs on onnxruntime only", where=path, got=backend, remedy="give a bundle")
        with OnnxRuntimeBackend(path) as loaded:
            yield Side(path, f"onnxruntime, {path.name}", loaded, None, None, path)
        return
    with bundles.load(path, backend=backend, pixels=False) as opened:
        loaded_ = opened.backend
        graph = loaded_.graph if isinstance(loaded_, OnnxRuntimeBackend) else None
        runtime = loaded_.name if graph is None else f"{loaded_.name}, {graph.name}"
        yield Side(path, runtime, loaded_, opened.manifest, opened.labels, graph)


def _description(sides: Sequence[Side], like: Path | None) -> Manifest:
    """What both sides read; refused where they read different windows."""
    known = [side.description for side in sides if side.description is not None]
    if like is not None:
        known.append(bundles.verify(like))
    if not known:
        raise OptionError(
            "nobody knows what two bare graphs read",
            where=sides[0].path,
            remedy="name a bundle of theirs with --like DIR",
        )
    for one in known[1:]:
        for what in ("modality", "space", "dim", "window", "preprocess"):
            wanted, got = getattr(known[0], what), getattr(one, what)
            if wanted != got:
                raise OptionError(f"the two differ in {what}, so they have no window in common", wanted=wanted, got=got)
    return known[0]


def _embed(side: Side, batches: Sequence[Batch]) -> NDArray[np.float32]:
    name, output = side.backend.input_name, side.backend.output_name
    vectors = np.concatenate([side.backend.infer({name: part.inputs})[output] for part in pieces(batches, BATCH)])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # Graphs leave them a few parts in a million off, which is as much as a cosine of two that are the same may lack.
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def _compared(
    sides: Sequence[Side],
    batches: Sequence[Batch],
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    bank: LabelBank,
    options: Options,
    progress: Progress,
) -> Compared:
    if first.shape != second.shape:
        raise OptionError("vectors of different length", wanted=first.shape[1], got=second.shape[1])
    cosines = np.einsum("ij,ij->i", first.astype(np.float64), second.astype(np.float64))
    why = _why_no_depth(sides, options)
    depth = None
    if not why:
        few = layers.deepest(batches, cosines, DEEP)
        progress(f"compare layers on {count(few)} windows")
        graphs = [side.graph for side in sides if side.graph is not None]
        depth = layers.compare(graphs[0], graphs[1], few, options.threshold)
    return Compared(
        str(sides[0].path),
        str(sides[1].path),
        (sides[0].runtime, sides[1].runtime),
        gate.compare(first, second, bank),
        cosines,
        _by_recording(batches, cosines),
        worst_of(batches, cosines),
        depth,
        why,
    )


def _why_no_depth(sides: Sequence[Side], options: Options) -> str:
    if not options.deep:
        return "not asked for"
    bare = [side.runtime for side in sides if side.graph is None]
    return f"{bare[0]} has no tensors to look at" if bare else ""


def _by_recording(batches: Sequence[Batch], cosines: Reals) -> dict[str, tuple[int, float, float]]:
    stops = np.cumsum([len(batch) for batch in batches])
    parts = np.split(cosines, stops[:-1])
    return {
        b.recording: (len(b), float(part.mean()), float(part.min())) for b, part in zip(batches, parts, strict=True)
    }


def worst_of(batches: Sequence[Batch], cosines: Reals, most: int = WORST) -> tuple[Worst, ...]:
    """The windows with the least cosine, the worst first."""
    owners = located(batches)
    found = []
    for at in np.argsort(cosines, kind="stable")[:most].tolist():
        batch, place, start = owners[at]
        found.append(Worst(batch.recording, start, float(cosines[at]), batch.inputs[place]))
    return tuple(found)


def located(batches: Sequence[Batch]) -> list[tuple[Batch, int, float | None]]:
    """Of every window its batch, its place there, and its seconds from the first one where they are known."""
    return [(batch, place, _seconds(batch, place)) for batch in batches for place in range(len(batch))]


def _seconds(batch: Batch, place: int) -> float | None:
    return None if batch.starts is None else float(batch.starts[place] - batch.starts[0]) / NANOSECONDS
