"""Each transform is tried on calibration windows and kept where it brings embeddings nearer to FP32, beyond noise."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine, qdq
from edgebind.calibration import ranges as ranges_
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.nearness import Nearness
from edgebind.calibration.observers import METHODS
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.transforms import correction, equalisation, rewrites, sites, smoothing, statistics
from edgebind.calibration.transforms.correction import Means
from edgebind.calibration.transforms.rewrites import Rewrites, Scaling

Floats = NDArray[np.float64]

EQUIVALENT = 1e-5
"""Largest difference of a value of a unit vector between an FP32 graph and its scaled twin."""
LEAST_GAIN = 1e-6
"""Of the mean cosine. Below it, a gain is float32's own rounding."""
ERRORS = 2.0
"""How many standard errors of the mean a gain must exceed, window by window."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one transform did to the cosine on calibration windows."""

    name: str
    places: int
    """Pairs of layers, outlier channels' places or layers that it would change; 0 where the graph offers none."""
    kept: bool = False
    cosine_before: float | None = None
    cosine_after: float | None = None
    standard_error: float | None = None
    """Of the gain."""
    windows: int = 0
    observer: str | None = None
    """Method of the ranges behind `cosine_after`."""
    fp32_difference: float | None = None
    """Largest change of a vector's value that the transform makes in FP32; None where it makes none by design."""
    settings: dict[str, float] = field(default_factory=dict)

    @property
    def gain(self) -> float | None:
        """Of the mean cosine; None where there was nothing to try."""
        return (
            None if self.cosine_before is None or self.cosine_after is None else self.cosine_after - self.cosine_before
        )

    def to_dict(self) -> dict[str, Any]:
        """As `report.json` has it: the gain on its own, for two cosines in seven digits do not tell it."""
        first = {"name": self.name, "places": self.places, "kept": self.kept, "gain": self.gain}
        facts = {**first, "standard_error": self.standard_error, **asdict(self)}
        return {key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in facts.items()}


def improve(near: Nearness, ranges: Ranges, observed: Iterable[Batch]) -> tuple[Ranges, list[Trial]]:
    """Try each transform on top of those before it; returns the ranges with what was kept, and all trials.

    Parameters
    ----------
    near: on some of the windows.
    ranges: of the untouched graph, by the observer that suits it best.
    observed: the windows they come from.
    """
    with tempfile.TemporaryDirectory(dir=near.subject.scratch) as aside:
        bench = _Bench(near, ranges, observed, Path(aside))
        bench.scale(equalisation.METHOD, _equalised)
        bench.scale(smoothing.METHOD, _smoothed)
        bench.correct()
    return bench.ranges, bench.trials


Scalings = dict[Scaling, float | None]


def _equalised(graph: Graph, path: Path, batches: Sequence[Batch]) -> Scalings:
    return dict.fromkeys(equalisation.scalings(graph, sites.find(graph)))


def _smoothed(graph: Graph, path: Path, batches: Sequence[Batch]) -> Scalings:
    places = [site for site in sites.find(graph) if smoothing.suits(site)]
    tensors = list(dict.fromkeys(layer.activation for site in places for layer in site.layers))
    if not places:
        return {}
    return {**smoothing.scalings(graph, places, statistics.collect(path, tensors, batches))}


def _halves(batches: Sequence[Batch]) -> list[tuple[NDArray[np.bool_], slice]]:
    """[(which windows are in one half, which batches are the other), ...]: every second one."""
    which = np.concatenate([np.full(len(batch), place % 2) for place, batch in enumerate(batches)])
    return [(which == half, slice(1 - half, None, 2)) for half in (0, 1)]


def _parts(batches: Sequence[Batch]) -> Sequence[Batch]:
    """At least two: a single recording is cut in the middle."""
    if len(batches) > 1:
        return batches
    middle = len(batches[0]) // 2
    return [batches[0].part(slice(middle)), batches[0].part(slice(middle, None))]


class _Bench:
    """The graph as it stands, how near its INT8 form is to FP32, and the trials so far."""

    def __init__(self, near: Nearness, ranges: Ranges, observed: Iterable[Batch], folder: Path) -> None:
        self._near = near
        self._subject = near.subject
        self._folder = folder
        self._observed = observed
        self._path = near.subject.graph
        self.ranges = ranges
        self._cosines = near.cosines(ranges)
        self.trials: list[Trial] = []

    def scale(self, method: str, find: Callable[[Graph, Path, Sequence[Batch]], Scalings]) -> None:
        """Try a transform of the FP32 graph, and measure ranges anew behind it."""
        self._subject.progress(f"trying {method}")
        found = find(self._graph(), self._path, self._near.batches)
        if not found:
            self.trials.append(Trial(method, 0))
            return
        changed = Rewrites((*self.ranges.rewrites.scalings, *found), self.ranges.rewrites.corrections)
        path = self._folder / f"{method}.onnx"
        rewrites.write(self._subject.graph, changed, path)
        difference = float(np.abs(engine.embed(path, self._near.batches, optimise=True) - self._near.reference).max())
        candidates = [
            replace(self.ranges, method=of.method, tensors=of.tensors, rewrites=changed) for of in self._collect(path)
        ]
        cosines = [self._near.cosines(of) for of in candidates]
        best = int(np.argmax([values.mean() for values in cosines]))
        settings = {scaling.tensor: setting for scaling, setting in found.items() if setting is not None}
        trial = Trial(method, len(found), fp32_difference=difference, settings=settings)
        if self._decide(trial, candidates[best], cosines[best], difference <= EQUIVALENT):
            self._path = path

    def _collect(self, path: Path) -> list[Ranges]:
        """By the observer that suited the graph before, and by min-max, which clips nothing where nothing sticks out."""
        methods = {name: METHODS[name] for name in (self.ranges.method, "minmax")}
        found = ranges_.collect(path, self._observed, methods, attention=self.ranges.attention)
        return list(found.values())

    def correct(self) -> None:
        """Try the correction of biases, each half of the windows with what the other half says; keep that of all."""
        self._subject.progress(f"trying {correction.METHOD}")
        batches = _parts(self._near.batches)
        quantised = self._folder / qdq.TENSORRT.file
        qdq.write(self._subject.graph, self.ranges, qdq.TENSORRT, quantised)
        means = correction.float_means(self._path, self._subject.weighted, batches)
        teach = partial(self._corrected, quantised, batches, means)
        cosines = np.empty(len(self._cosines))
        for own, others in _halves(batches):
            cosines[own] = self._near.cosines(teach(others))[own]
        places = len(self._subject.weighted)
        if self._decide(Trial(correction.METHOD, places), self.ranges, cosines, True):
            self.ranges = teach(slice(None))

    def _corrected(self, quantised: Path, batches: Sequence[Batch], means: Sequence[Means], which: slice) -> Ranges:
        """The ranges with what some of the batches teach."""
        wanted = correction.pooled(means[which], batches[which])
        found = correction.corrections(wanted, quantised, self._subject.weighted, batches[which])
        return replace(self.ranges, rewrites=replace(self.ranges.rewrites, corrections=found))

    def _graph(self) -> Graph:
        graph = Graph.read(self._subject.graph)
        rewrites.apply(graph, self.ranges.rewrites)
        return graph

    def _decide(self, trial: Trial, ranges: Ranges, cosines: Floats, equivalent: bool) -> bool:
        gains = cosines - self._cosines
        error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
        kept = equivalent and bool(gains.mean() > max(LEAST_GAIN, ERRORS * error))
        self.trials.append(
            replace(
                trial,
                kept=kept,
                cosine_before=float(self._cosines.mean()),
                cosine_after=float(cosines.mean()),
                standard_error=error,
                windows=len(gains),
                observer=ranges.method,
            )
        )
        if kept:
            self.ranges, self._cosines = ranges, cosines
        return kept
