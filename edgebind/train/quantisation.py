"""The last stage of a distillation: the student learns to bear 8 bits, on the ranges of the project's own calibrator.

    student -> ONNX -> ranges of real windows -> places and grids -> fine-tuning through them -> the student's own weights

What comes out is a student as before: `edgebind export --precision int8` calibrates and gates it like any other.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgebind.calibration import engine, gate, nearness, qdq, ranges
from edgebind.calibration.batches import Batch, spread
from edgebind.calibration.gate import Comparison
from edgebind.calibration.graph import Graph
from edgebind.calibration.nearness import Nearness
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.subject import Subject
from edgebind.evaluate.encoder import unit_rows
from edgebind.models import clips
from edgebind.signals import Floats
from edgebind.train.distil_recipe import Quantisation
from edgebind.train.fake_quantise import Place, find_places
from edgebind.train.measure import Measured
from edgebind.train.recipe import Training
from edgebind.train.stage import Stage

CHOOSING = 96
"""Windows on which the methods are compared."""


@dataclass(frozen=True)
class Drift:
    """What INT8 makes of a student, on what is held out."""

    comparison: Comparison
    """With FP32, item by item."""
    measured: Measured
    """What its own vectors answer, where the data has classes."""

    def to_dict(self) -> dict[str, Any]:
        return {"comparison": asdict(self.comparison), "measured": self.measured.to_dict()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Drift:
        return cls(Comparison(**table["comparison"]), Measured.from_dict(table["measured"]))


@dataclass(frozen=True)
class Plan:
    """What INT8 will do to a student."""

    places: tuple[Place, ...]
    method: str
    """The calibrator's, which kept the student nearest to FP32."""
    before: Drift | None
    """What INT8 would make of the student as it is; None when nothing is held out."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "places": [asdict(place) for place in self.places],
            "method": self.method,
            "before": None if self.before is None else self.before.to_dict(),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Plan:
        before = None if table["before"] is None else Drift.from_dict(table["before"])
        return cls(tuple(Place(**place) for place in table["places"]), table["method"], before)


def training_of(recipe: Training, how: Quantisation) -> Training:
    """How the last stage trains: as before, for fewer steps and in float32, whose rounding 8 bits can bear."""
    warmup = min(recipe.warmup_steps, how.steps // 10)
    return replace(recipe, steps=how.steps, learning_rate=how.learning_rate, warmup_steps=warmup, precision="fp32")


def plan(stage: Stage, student: nn.Module) -> Plan:
    """Calibrate a student on items of its own training, as `edgebind export` would.

    Raises
    ------
    MissingDependencyError: onnx, onnxsim, onnxscript or onnxruntime is not installed.
    ExportError, CalibrationError: the student cannot be exported or calibrated.
    """
    with tempfile.TemporaryDirectory() as scratch:
        graph, found = _calibrated(stage, student, Path(scratch))
        places = find_places(copy.deepcopy(student).cpu(), Graph.read(graph), found)
        return Plan(tuple(places), found.method, _drift(stage, graph, found, Path(scratch)))


def drift(stage: Stage, student: nn.Module) -> Drift | None:
    """What INT8 makes of a student on all that the stage has held out; None when that is nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        return _drift(stage, *_calibrated(stage, student, Path(scratch)), Path(scratch))


def _calibrated(stage: Stage, student: nn.Module, scratch: Path) -> tuple[Path, Ranges]:
    """A student's graph, and the ranges of the method that keeps its INT8 nearest to FP32."""
    windows = _calibration(stage)
    graph = _exported(student, windows.inputs[:2], scratch)
    by_method = ranges.collect(graph, [windows])
    subject = Subject.of(graph, windows, stage.bank, scratch, lambda _: None)
    method, _ = nearness.choose(Nearness(subject, spread([windows], CHOOSING)), by_method)
    return graph, by_method[method]


def _drift(stage: Stage, graph: Path, found: Ranges, scratch: Path) -> Drift | None:
    held_out, target = stage.held_out(), scratch / "int8.onnx"
    if not held_out:
        return None
    batches = [Batch(held.variant, _as_read(stage.student_inputs(held.items))) for held in held_out]
    qdq.write(graph, found, qdq.TENSORRT, target)
    rows = engine.embed(target, batches, optimise=False)
    comparison = gate.compare(engine.embed(graph, batches, optimise=True), rows, stage.bank)
    each = np.split(rows, np.cumsum([len(batch.inputs) for batch in batches])[:-1])
    by_item = [_by_item(part, len(held.items)) for held, part in zip(held_out, each, strict=True)]
    return Drift(comparison, stage.measured(list(zip(held_out, by_item, strict=True))))


def _calibration(stage: Stage) -> Batch:
    how = stage.recipe.quantisation
    drawn = stage.draw(how.windows, np.random.default_rng([stage.recipe.seed, how.windows]))
    return Batch("items of the training", _as_read(stage.student_inputs(drawn.items)))


def _as_read(inputs: Tensor) -> NDArray[Any]:
    """What the graph reads: of videos every frame by itself."""
    if inputs.ndim == 6:
        inputs = torch.stack(clips.views(inputs, together=False), dim=1).flatten(0, 1)
    found: NDArray[Any] = inputs.numpy()
    return found


def _by_item(rows: Floats, items: int) -> Floats:
    """(items x frames, dim) -> (items, dim): the mean of each item's frames, at unit length again."""
    return unit_rows(rows.reshape(items, -1, rows.shape[1]).mean(axis=1))


def _exported(student: nn.Module, example: NDArray[Any], scratch: Path) -> Path:
    from edgebind.export.simplify import simplify
    from edgebind.export.torch_onnx import to_onnx

    raw, graph = scratch / "exported.onnx", scratch / "fp32.onnx"
    to_onnx(copy.deepcopy(student).cpu(), example, raw)
    simplify(raw, graph)
    return graph
