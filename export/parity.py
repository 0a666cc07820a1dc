"""Does a graph compute what its source computes? An exporter's bugs are silent, so every export answers this.

Two that were seen: TorchScript's `unfold(-1)` garbles the IMU tower, and a wrapper in training mode keeps its dropout.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.errors import ParityError

TOLERANCE = 1e-4
"""Largest difference of a value of a unit vector."""

Floats = NDArray[np.float32]


def check(reference: Floats, graph: Path, inputs: np.ndarray) -> float:
    """Largest absolute difference between `reference` (batch, dim) and what `graph` makes of `inputs`.

    Also checks that rows have length 1 and that a window embeds the same alone as in a batch.

    Raises
    ------
    BackendError: not one input and one output, or it cannot be run.
    ParityError: it computes something else.
    """
    with OnnxRuntimeBackend(graph) as backend:
        batch = backend.infer({backend.input_name: inputs})[backend.output_name]
        alone = [backend.infer({backend.input_name: row[None]})[backend.output_name] for row in inputs]
    if batch.shape != reference.shape or batch.dtype != np.float32:
        got = f"{batch.dtype} {batch.shape}"
        raise ParityError("output of another shape", where=graph, wanted=f"float32 {reference.shape}", got=got)
    _require(float(np.abs(np.linalg.norm(batch, axis=1) - 1).max()), "rows are no unit vectors", graph)
    _require(
        float(np.abs(batch - np.concatenate(alone)).max()), "a window embeds differently in a batch than alone", graph
    )
    return _require(float(np.abs(batch - reference).max()), "the graph computes something else than its source", graph)


def _require(difference: float, what: str, graph: Path) -> float:
    if not difference <= TOLERANCE:  # also when it is NaN
        raise ParityError(what, where=graph, wanted=f"at most {TOLERANCE:g}", got=f"{difference:.3g}")
    return difference


def example(shape: tuple[int, ...], dtype: str, *, batch: int = 2) -> np.ndarray:
    """Smooth deterministic signals of a shape, or short prompts' token ids: inputs for parity, never for calibration."""
    random = np.random.default_rng(0)
    if dtype == "int64":
        return np.stack([_ids(random, shape[0], 4 + row) for row in range(batch)])
    steps = random.standard_normal((batch, *shape), dtype=np.float32)
    return np.cumsum(steps, axis=-1, dtype=np.float32) / np.float32(np.sqrt(shape[-1] / 4))


def example_of(modality: str) -> np.ndarray:
    """`example` for an ImageBind tower."""
    of = modalities.get(modality)
    return example(of.input_shape, of.input_dtype)


def _ids(random: np.random.Generator, context: int, words: int) -> NDArray[np.int64]:
    """Start, some words, end, padding: the end's id is the largest, as CLIP's tokenizer has it."""
    ids = np.zeros(context, np.int64)
    ids[0], ids[1 + words] = 49406, 49407
    ids[1 : 1 + words] = random.integers(1, 49405, words)
    return ids
