"""What the road from samples to a named vector costs beside the encoder alone.

    chunk -> window -> preprocess -> encoder -> labels -> JSON line      against      encoder

Both go over the same recording in turn, round by round, so that a drifting clock hits them alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import bundle as bundles
from edgebind import sources
from edgebind.benchmarks import latency, machine
from edgebind.bundle import Bundle
from edgebind.errors import OptionError
from edgebind.signals import Chunk, Window
from edgebind.sinks.jsonl import to_json
from edgebind.stream import Stream
from edgebind.testing import ListSink, ListSource
from edgebind.window import make_windower


class _Writing(ListSink):
    """Makes each embedding the line it would be in a file, and keeps none."""

    def write(self, embedding: Any) -> None:
        to_json(embedding)


class _Discarding(ListSink):
    """Keeps nothing."""

    def write(self, embedding: Any) -> None:
        pass


def measure(
    folder: Path,
    recording: Path,
    *,
    seconds: float,
    batch: int = 1,
    threads: int | None = None,
    backend: str = "auto",
) -> dict[str, Any]:
    """Time a whole recording through a bundle against its encoder's bare calls.

    Parameters
    ----------
    batch: most windows in a call, of the road and of the bare encoder alike.

    Returns
    -------
    `machine`, `bundle`, `windows`, `batch` and `results`: per contestant the milliseconds a window and the ratio to the
    bare call.

    Raises
    ------
    OptionError: the recording is shorter than a window.
    """
    with bundles.load(folder, backend=backend, threads=threads) as opened:
        chunks = _chunks(opened, recording)
        windows = _windows(opened, chunks)
        if not windows:
            raise OptionError("the recording is shorter than a window", where=recording)
        rows = _race(opened, chunks, windows, batch, seconds)
    return {
        "machine": machine.describe(),
        "bundle": str(folder),
        "windows": len(windows),
        "batch": batch,
        "results": [{"name": row.name, "ms_a_window": row.p50_ms / len(windows), "ratio": row.ratio} for row in rows],
    }


def _race(
    opened: Bundle, chunks: Sequence[Chunk], windows: Sequence[Window], batch: int, seconds: float
) -> list[latency.Latency]:
    inputs = opened.prepare(windows)
    parts = [windows[at : at + batch] for at in range(0, len(windows), batch)]
    calls = {
        "bare call": lambda: _bare(opened, inputs, batch),
        "windows to vectors": lambda: [opened.embed(part) for part in parts],
        "samples to labels": lambda: _stream(opened, chunks, _Discarding(), batch),
        "samples to JSON line": lambda: _stream(opened, chunks, _Writing(), batch),
    }
    return latency.race(calls, seconds=seconds, warmup=2)


def _chunks(opened: Bundle, recording: Path) -> list[Chunk]:
    spec = opened.manifest.window
    wanted = sources.Wanted(opened.manifest.modality, spec, chunk_seconds=spec.hop_seconds)
    with sources.open_source(f"file:{recording}", wanted) as source:
        return list(source)


def _windows(opened: Bundle, chunks: Sequence[Chunk]) -> list[Window]:
    windower = _windower(opened)
    return [*itertools.chain.from_iterable(windower.push(chunk) for chunk in chunks), *windower.finish()]


def _windower(opened: Bundle) -> Any:
    return make_windower(opened.manifest.window, opened.manifest.modality)


def _bare(opened: Bundle, inputs: np.ndarray, batch: int) -> None:
    for at in range(0, len(inputs), batch):
        opened.backend.infer_unchecked(inputs[at : at + batch])


def _stream(opened: Bundle, chunks: Sequence[Chunk], sink: ListSink, batch: int) -> None:
    Stream(ListSource(chunks), _windower(opened), opened, [sink], batch=batch).run()
