"""What calibration windows say of a tensor whose last axis counts channels: each one's largest value, and some rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine
from edgebind.calibration.batches import Batch, count

ROWS = 256
"""Rows that are kept of each tensor: enough to tell one scale's error from another's, and small for a large tower."""


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Of one tensor (..., channels)."""

    largest: NDArray[np.float32]
    """(channels,): largest magnitude."""
    rows: NDArray[np.float32]
    """(rows, channels): drawn evenly from all windows."""


def collect(graph: Path, tensors: Sequence[str], batches: Sequence[Batch], rows: int = ROWS) -> dict[str, Channels]:
    """One pass over the windows; memory holds one window's activations and `rows` rows of each tensor."""
    random = np.random.default_rng(0)
    each = max(1, round(rows / count(batches)))
    largest: dict[str, Any] = {}
    drawn: dict[str, list[Any]] = {name: [] for name in tensors}
    for values in _windows(graph, tensors, batches):
        for name in tensors:
            flat = values[name].reshape(-1, values[name].shape[-1])
            largest[name] = np.maximum(largest.get(name, 0), np.abs(flat).max(axis=0))
            drawn[name].append(flat[random.integers(0, len(flat), each)])
    return {name: Channels(largest[name], np.concatenate(drawn[name])) for name in tensors}


def _windows(graph: Path, tensors: Sequence[str], batches: Sequence[Batch]) -> Iterator[dict[str, np.ndarray]]:
    with engine.Tap(graph, tensors) as tap:
        for batch in batches:
            for row in batch.inputs:
                yield tap.run(row[None], batch.recording)
