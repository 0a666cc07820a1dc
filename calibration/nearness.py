"""How near the TensorRT graph of some ranges is to FP32, and the ranges and scales of weights that bring it nearest.

A large tower takes minutes to look at a handful of windows, so FP32 sees them once, and no graph is measured twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine, qdq
from edgebind.calibration.batches import Batch
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.subject import Subject
from edgebind.calibration.weights import SCALINGS

Floats = NDArray[np.float64]

DIGITS = 6
"""Of mean cosines that count when methods are compared; of those that agree so far, the first is taken."""


class Nearness:
    """Compares INT8 graphs with FP32 on the same windows."""

    def __init__(self, subject: Subject, batches: Sequence[Batch]) -> None:
        self.subject = subject
        self.batches = batches
        self.reference = engine.embed(subject.graph, batches, optimise=True)
        """(windows, dim), FP32's vectors."""
        self._known: dict[str, Floats] = {}

    def cosines(self, ranges: Ranges) -> Floats:
        """(windows,): of each window's vector in the TensorRT graph of `ranges` to that in FP32."""
        # Two observers may well agree, and what is called by another name need not be measured again.
        key = replace(ranges, method="", windows=0).to_json()
        if key not in self._known:
            self._known[key] = self._measured(ranges)
        return self._known[key]

    def _measured(self, ranges: Ranges) -> Floats:
        with tempfile.TemporaryDirectory(dir=self.subject.scratch) as folder:
            target = Path(folder) / qdq.TENSORRT.file
            qdq.write(self.subject.graph, ranges, qdq.TENSORRT, target)
            found = engine.embed(target, self.batches, optimise=False)
        cosines: Floats = np.einsum("ij,ij->i", self.reference.astype(np.float64), found.astype(np.float64))
        return cosines


def choose(near: Nearness, ranges: Mapping[str, Ranges]) -> tuple[str, dict[str, float]]:
    """The method whose TensorRT graph stays closest to FP32, and every method's mean cosine."""
    scores = {}
    for method, of in ranges.items():
        near.subject.progress(f"trying {method} ranges")
        scores[method] = float(near.cosines(of).mean())
    return max(scores, key=lambda method: round(scores[method], DIGITS)), scores


def choose_weights(near: Nearness, ranges: Ranges) -> tuple[Ranges, dict[str, float]]:
    """`ranges` with the scaling of weights whose TensorRT graph stays closest to FP32, and every scaling's mean cosine."""
    scores = {}
    for scaling in SCALINGS:
        near.subject.progress(f"trying {scaling} scales of weights")
        scores[scaling] = float(near.cosines(replace(ranges, weights=scaling)).mean())
    return replace(ranges, weights=max(scores, key=lambda scaling: round(scores[scaling], DIGITS))), scores
