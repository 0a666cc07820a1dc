"""Is INT8 faster here? Measured in turns, so that a drifting clock hits both alike, and said aloud when it is not."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import cpu
from edgebind.backends.onnxruntime import OnnxRuntimeBackend


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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(baseline: Path, candidate: Path, window: np.ndarray, *, seconds: float = 1.5, least: int = 15) -> Speed:
    """Race two graphs on one window (1, ...) for about `seconds`, at least `least` rounds."""
    with OnnxRuntimeBackend(baseline) as first, OnnxRuntimeBackend(candidate) as second:
        backends = (first, second)
        for backend in backends:
            _milliseconds(backend, window)
        stop = time.perf_counter() + seconds
        rounds: list[list[float]] = []
        while len(rounds) < least or time.perf_counter() < stop:
            rounds.append([_milliseconds(backend, window) for backend in backends])
    table = np.array(rounds)  # (rounds, 2)
    medians = np.median(table, axis=0).round(4)
    ratio = float(np.median(table[:, 1] / table[:, 0]).round(4))
    return Speed(cpu_name(), cpu.has_vnni(), candidate.name, float(medians[0]), float(medians[1]), ratio, len(rounds))


def _milliseconds(backend: OnnxRuntimeBackend, window: np.ndarray) -> float:
    start = time.perf_counter_ns()
    backend.infer({backend.input_name: window})
    return (time.perf_counter_ns() - start) / 1e6


def cpu_name() -> str:
    """The processor as Linux calls it."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.processor() or platform.machine())
