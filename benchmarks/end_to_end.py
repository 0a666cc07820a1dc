"""What the road from samples to a named vector costs beside the encoder alone.

    chunk -> window -> preprocess -> encoder -> labels -> JSON line      against      encoder

All go over the same recording side by side, one call of the encoder each in turn: a drifting clock, and whoever else
wants the machine, hit them alike, and no encoder is timed with a cache that it had for itself. One window at a time,
samples come hop by hop, as live ones do at best; in batches they come as from a recording at full speed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import bundle as bundles
from edgebind import sources
from edgebind.benchmarks import machine
from edgebind.bundle import Bundle
from edgebind.errors import OptionError
from edgebind.signals import Chunk, Embedding, Window
from edgebind.sinks.jsonl import to_json
from edgebind.stream import embed_recording
from edgebind.testing import ListSource
from edgebind.window import make_windower

LEAST = 5
"""Times that a recording is gone over, however long it takes."""

Road = Callable[[], Iterator[int]]
"""Sets out on a recording; each `next` goes one call of the encoder further, and says for how many windows."""


def measure(
    folder: Path,
    recording: Path,
    *,
    seconds: float,
    batch: int = 1,
    threads: int | None = None,
    backend: str = "auto",
) -> dict[str, Any]:
    """Time a recording's way through a bundle against its encoder's bare calls.

    Parameters
    ----------
    batch: most windows in a call, of the road and of the bare encoder alike.

    Returns
    -------
    `machine`, `bundle`, `recording`, `windows`, `batch`, and `results`: per contestant the median milliseconds a window,
    and the median ratio to the bare call beside it. `read_ms_a_window` is what it takes to read the file, which is in none
    of them.

    Raises
    ------
    OptionError: the recording is shorter than a window.
    """
    with bundles.load(folder, backend=backend, threads=threads) as opened:
        begun = time.perf_counter_ns()
        chunks = _chunks(opened, recording, batch)
        read_ms = (time.perf_counter_ns() - begun) / 1e6
        windows = _windows(opened, chunks)
        if not windows:
            raise OptionError("the recording is shorter than a window", where=recording)
        results = _race(_roads(opened, chunks, windows, batch), seconds)
    return {
        "machine": machine.describe(),
        "bundle": str(folder),
        "recording": str(recording),
        "windows": len(windows),
        "batch": batch,
        "results": results,
        "read_ms_a_window": round(read_ms / len(windows), 4),
    }


def _roads(opened: Bundle, chunks: Sequence[Chunk], windows: Sequence[Window], batch: int) -> dict[str, Road]:
    (inputs,) = opened.feed(windows).values()

    def bare() -> Iterator[int]:
        for at in range(0, len(inputs), batch):
            yield len(opened.backend.infer_unchecked(inputs[at : at + batch]))

    def embed() -> Iterator[int]:
        for at in range(0, len(windows), batch):
            yield len(opened.embed(windows[at : at + batch]))

    def stream(write: Callable[[Embedding], object]) -> Iterator[int]:
        embeddings = embed_recording(opened, ListSource(chunks), batch=batch)
        while count := sum(1 for _ in map(write, itertools.islice(embeddings, batch))):
            yield count

    return {
        "bare call": bare,
        "windows to vectors": embed,
        "samples to labels": lambda: stream(id),
        "samples to JSON line": lambda: stream(to_json),
    }


def _race(roads: Mapping[str, Road], seconds: float) -> list[dict[str, Any]]:
    """Go the roads side by side, again and again for `seconds`; the first is what ratios refer to."""
    steps: list[list[float]] = []
    stop = time.perf_counter() + seconds
    _go(roads)  # pays for what later ones find ready
    for _ in itertools.takewhile(lambda number: number < LEAST or time.perf_counter() < stop, itertools.count()):
        steps += _go(roads)
    table = np.array(steps)  # (steps, roads)
    ms, ratios = np.median(table, axis=0), np.median(table / table[:, :1], axis=0)
    return [
        {"name": name, "ms_a_window": round(float(each), 4), "ratio": round(float(ratio), 4)}
        for name, each, ratio in zip(roads, ms, ratios, strict=True)
    ]


def _go(roads: Mapping[str, Road]) -> list[list[float]]:
    """Milliseconds a window of each step of each road."""
    steps = []
    travellers = [road() for road in roads.values()]
    while all(step := [_step(traveller) for traveller in travellers]):
        steps.append(step)
    return steps


def _step(traveller: Iterator[int]) -> float:
    """Milliseconds a window of the next step; 0 at the end of the road."""
    begun = time.perf_counter_ns()
    count = next(traveller, 0)
    return (time.perf_counter_ns() - begun) / 1e6 / count if count else 0.0


def _chunks(opened: Bundle, recording: Path, batch: int) -> list[Chunk]:
    spec = opened.manifest.window
    wanted = sources.Wanted(opened.manifest.modality, spec, chunk_seconds=spec.hop_seconds)
    with sources.open_source(f"file:{recording}", wanted if batch == 1 else wanted.at_once()) as source:
        return list(source)


def _windows(opened: Bundle, chunks: Sequence[Chunk]) -> list[Window]:
    windower = make_windower(opened.manifest.window, opened.manifest.modality, every_frame=True)
    return [*itertools.chain.from_iterable(windower.push(chunk) for chunk in chunks), *windower.finish()]
