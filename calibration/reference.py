"""Calibration windows and held-out windows -> what the device compares its sensor with.

subspace       from the vectors of the calibration recordings
their traits   from recordings that were held out, which is what a new recording will look like
other traits   from both, since nothing was fitted to either
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine
from edgebind.calibration.batches import Batch, count, spread
from edgebind.calibration.graph import Graph
from edgebind.manifest import Manifest
from edgebind.reference import OF_VECTORS, Reference
from edgebind.signals import NANOSECONDS, Floats

Reals = NDArray[np.float64]

SHARE = 0.95
"""Of the variance of calibration vectors, that the subspace holds. With less of it the encoder's own classes stick out; with
more there is no room left that a stranger could stick out into."""
LEAST = 5
"""Recordings, and blocks where there are fewer recordings, below which nothing is known about new ones."""
LEAST_VECTORS = 16
"""Windows of each part that are embedded however large the encoder; with fewer there is no subspace."""
SPAN = 8
"""Windows that do not overlap, in a block."""
GIGAMACS = 300.0
MOST = 1024
"""Windows of each part that are embedded, however small the encoder."""
ALIKE = {"gravity": 0.05, "spread": np.log(1.25), "detail": np.log(1.25), "outside": np.log(1.1), "inside": np.log(1.1)}
"""Trait -> the least deviation: sensors differ that much (a tolerance of 5 %, 25 %, 10 %), whatever few recordings say."""
ALIKE_LEVEL = 0.25
"""The same of levels, in spreads of the channel."""


def learn(
    graph: Path, fp32: Path, description: Manifest, calibration: Sequence[Batch], held_out: Sequence[Batch]
) -> Reference | None:
    """What to compare with, or None where too little was recorded to know what is usual.

    Parameters
    ----------
    graph: the encoder as it will run, since 8 bits leave marks of their own.
    fp32: what it was made from, which tells how many windows can be afforded.
    calibration, held_out: windows with their `starts` and `traits`.
    """
    batches = (*calibration, *held_out)
    if description.modality == "text" or any(batch.starts is None or batch.traits is None for batch in batches):
        return None
    macs = sum(Graph.read(fp32).macs(calibration[0].inputs[:1], fp32).values())
    limit = int(max(LEAST_VECTORS, min(MOST, GIGAMACS * 1e9 / max(1, macs))))
    seen, judged = spread(calibration, limit), spread(held_out, limit)
    vectors = engine.embed(graph, seen, optimise=True)
    if len(vectors) < LEAST_VECTORS:
        return None
    return fit(description, seen, vectors, judged, engine.embed(graph, judged, optimise=True))


def fit(
    description: Manifest, calibration: Sequence[Batch], vectors: Floats, held_out: Sequence[Batch], judged: Floats
) -> Reference | None:
    """The same, with the vectors (windows, dim) of both known."""
    window = description.window
    overlap = max(1, round(window.seconds / window.hop_seconds))
    block, every = SPAN * overlap, max(1, overlap // 2)
    length = round(block * window.hop_seconds * NANOSECONDS)
    mean, directions, variances = subspace(vectors)
    names = OF_VECTORS
    blank = np.ones(0)
    reference = Reference(
        description.modality, window.channels, window.units, mean, directions, variances,
        names, blank, blank, blank.astype(np.int64), block, every, len(held_out),
    )  # fmt: skip
    of_vectors = [blocks(batch, reference.scores(rows), length) for batch, rows in _with_rows(held_out, judged)]
    of_sensor = [blocks(batch, batch.traits, length) for batch in (*calibration, *held_out) if batch.traits is not None]
    found = [usual(recordings) for recordings in (of_vectors, of_sensor)]
    if any(one is None for one in found):
        return None
    return _completed(reference, [one for one in found if one is not None])


def subspace(vectors: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean (dim,), principal directions (dim, k) and variances (k,): so many as hold `SHARE` of the variance."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    _, singular, rows = np.linalg.svd(vectors - mean, full_matrices=False)
    variances = singular**2 / max(1, len(vectors) - 1)
    held = np.cumsum(variances) / max(variances.sum(), np.finfo(np.float64).tiny)
    kept = max(1, min(int(np.searchsorted(held, SHARE)) + 1, len(vectors) // 4, len(variances) - 1))
    small = np.maximum(variances[:kept], 1e-9)
    return mean.astype(np.float32), rows[:kept].T.astype(np.float32), small.astype(np.float32)


def blocks(batch: Batch, traits: Reals | Floats, length: int) -> Reals:
    """Averages over stretches of `length` nanoseconds of one recording, (blocks, traits); a last one of half the length
    counts, and so does a recording that is shorter than one."""
    assert batch.starts is not None
    places = (batch.starts - batch.starts[0]) // length
    last = int(places[-1])
    if last and batch.starts[-1] - batch.starts[0] - last * length < length // 2:
        last -= 1
    return np.stack([traits[places == place].mean(axis=0) for place in range(last + 1) if (places == place).any()])


def usual(recordings: Sequence[Reals]) -> tuple[Reals, Reals, int] | None:
    """Centre and deviation of a block of one more recording, and what they were estimated from; None if that is too little.

    Recordings count alike, however long: the deviation is the mean over them of their blocks' squared distances from the
    centre, n / (n - 1) times. So it holds what differs between recordings and what differs between blocks of one.
    """
    if len(recordings) < LEAST:  # blocks must stand in, and what differs between recordings stays unknown
        recordings = [block[None] for recording in recordings for block in recording]
    if len(recordings) < LEAST:
        return None
    centre = np.mean([recording.mean(axis=0) for recording in recordings], axis=0)
    squares = [((recording - centre) ** 2).mean(axis=0) for recording in recordings]
    return centre, np.sqrt(np.sum(squares, axis=0) / (len(recordings) - 1)), len(recordings)


def _with_rows(batches: Sequence[Batch], vectors: Floats) -> list[tuple[Batch, Floats]]:
    stops = np.cumsum([len(batch) for batch in batches])
    assert count(batches) == len(vectors)
    return list(zip(batches, np.split(vectors, stops[:-1]), strict=True))


def _completed(reference: Reference, found: Sequence[tuple[Reals, Reals, int]]) -> Reference:
    names = OF_VECTORS + reference.traits().names
    centre = np.concatenate([one[0] for one in found]).astype(np.float64)
    deviation = np.maximum(np.concatenate([one[1] for one in found]), _alike(names, centre))
    seen = np.concatenate([np.full(len(one[0]), one[2], np.int64) for one in found])
    return replace(reference, names=names, centre=centre, deviation=deviation, seen=seen)


def _alike(names: Sequence[str], centre: Reals) -> Reals:
    """Deviations that are no drift, of each trait."""
    by_name = dict(zip(names, centre.tolist(), strict=True))
    found = []
    for name in names:
        kind, _, channel = name.partition(" of ")
        found.append(ALIKE_LEVEL * np.exp(by_name[f"spread of {channel}"]) if kind == "level" else ALIKE[kind])
    return np.array(found, np.float64)
