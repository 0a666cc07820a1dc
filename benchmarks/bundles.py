"""Latency of bundles, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import bundle as bundles
from edgebind import modality as modalities
from edgebind.benchmarks import latency, machine
from edgebind.bundle import Bundle
from edgebind.errors import OptionError
from edgebind.manifest import Manifest


def measure(
    folders: Sequence[Path], *, seconds: float, batch: int = 1, threads: int | None = None, backend: str = "auto"
) -> dict[str, Any]:
    """Race the encoders of some bundles on the same machine in one run.

    Parameters
    ----------
    folders: bundles; the first one is what ratios refer to. Bundles of different modalities may race, each on its own input.
    seconds: how long the race lasts in all.
    batch: windows in a call.

    Returns
    -------
    `machine`, `batch`, `threads` and `results`: one entry a bundle with load time and latency percentiles.
    """
    if batch < 1:
        raise OptionError("batch out of range", wanted="at least 1", got=batch)
    with ExitStack() as stack:
        calls, details = {}, []
        for folder in folders:
            start = perf_counter()
            opened = stack.enter_context(bundles.load(folder, backend=backend, threads=threads))
            feed = {opened.backend.input_name: example(opened, batch)}
            details.append({"bundle": str(folder), "load_ms": round((perf_counter() - start) * 1e3, 2)})
            calls[str(folder)] = lambda opened=opened, feed=feed: opened.backend.infer(feed)
        table = latency.race(calls, seconds=seconds)
    return {
        "machine": machine.describe(),
        "batch": batch,
        "threads": threads,
        "results": [_result(detail, row, batch) for detail, row in zip(details, table, strict=True)],
    }


def example(opened: Bundle, batch: int) -> NDArray[np.generic]:
    """A batch of plausible inputs. Only its shape matters to the clock, so seeded noise will do here."""
    if opened.manifest.modality == "text":
        from edgebind.preprocess import text

        return np.repeat(text.tokens(["a prompt of some words"]), batch, axis=0)
    rng, shape = np.random.default_rng(0), window_shape(opened.manifest)
    if opened.manifest.modality in ("thermal", "vision"):
        window = rng.integers(0, 256, shape, dtype=np.uint8)
    else:
        window = np.abs(rng.normal(size=shape)).astype(np.float32)
    return np.repeat(opened.prepare([window]), batch, axis=0)


def window_shape(manifest: Manifest) -> tuple[int, ...]:
    """Shape of one window's samples, in physical units."""
    if not modalities.get(manifest.modality).is_camera:
        return (len(manifest.window.channels), manifest.window.length)
    return (480, 640, 3) if manifest.modality == "vision" else (480, 640)


def _result(detail: dict[str, Any], row: latency.Latency, batch: int) -> dict[str, Any]:
    return {**detail, **row.to_dict(), "windows_per_second": round(batch / row.mean_ms * 1e3, 1)}
