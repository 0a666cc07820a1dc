"""Is INT8 faster here? Measured in turns, so that a drifting clock hits both alike, and said aloud when it is not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import cpu
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.benchmarks import latency

ROUNDS = 15
"""Least of a race."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Time of one window in two graphs on this machine."""

    cpu: str
    vnni: bool
    graph: str
    baseline_ms: float
    """Median of the FP32 graph, milliseconds."""
    candidate_ms: float
    ratio: float
    """Median over the rounds of candidate by baseline; below 1 the candidate is faster."""
    rounds: int

    @property
    def is_slower(self) -> bool:
        """Whether the candidate takes longer than the baseline."""
        return self.ratio > 1

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "is_slower": self.is_slower}

    def __str__(self) -> str:
        verdict = (
            f"SLOWER than FP32 here: {self.ratio:.2f}x its time"
            if self.is_slower
            else f"{self.ratio:.2f}x the time of FP32"
        )
        return f"{verdict} ({self.candidate_ms:.2f} against {self.baseline_ms:.2f} ms a window, {self.cpu})"


def measure(baseline: Path, candidate: Path, window: np.ndarray, *, seconds: float = 1.5, least: int = ROUNDS) -> Speed:
    """Race two graphs on one window (1, ...) for about `seconds`, at least `least` rounds."""
    with OnnxRuntimeBackend(baseline) as first, OnnxRuntimeBackend(candidate) as second:
        calls = {
            str(backend.graph): partial(backend.infer, {backend.input_name: window}) for backend in (first, second)
        }
        fp32, int8 = latency.race(calls, seconds=seconds, warmup=1, least=least)
    return Speed(cpu.name(), cpu.has_vnni(), candidate.name, fp32.p50_ms, int8.p50_ms, int8.ratio, int8.calls)
