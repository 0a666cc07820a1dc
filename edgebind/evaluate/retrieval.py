"""Cross-modal retrieval: how far up in the list of all items a query finds the one it belongs to.

A query may have several right items (a sound with five captions): the best placed of them counts. Scores are computed some
queries at a time, so that a hundred thousand against a hundred thousand need no more memory than both sides' vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebind.signals import Floats

DEPTHS = (1, 5, 10)
"""Recall is asked for among so many nearest."""
CHUNK_BYTES = 64 << 20
"""Of scores that are in memory at once."""

Pairs = Sequence[tuple[int, int]]
"""Query and item that belong together; a query may stand in several."""


@dataclass(frozen=True)
class Retrieval:
    """One way of asking."""

    queries: int
    """That have a right item; others are not asked."""
    items: int
    metrics: dict[str, float]
    """`recall@1`, `recall@5`, `recall@10`, 0 to 1, and `median rank`."""
    chance: dict[str, float]
    """What a random order gets of each."""


def both_ways(left: Floats, right: Floats, pairs: Pairs) -> tuple[Retrieval, Retrieval]:
    """Left asks for right, and right for left: (n, dim) and (m, dim) unit rows."""
    turned = [(second, first) for first, second in pairs]
    return retrieve(left, right, pairs), retrieve(right, left, turned)


def retrieve(queries: Floats, items: Floats, pairs: Pairs) -> Retrieval:
    """Rank all items for each query that has a right one.

    Parameters
    ----------
    queries: (n, dim) unit rows.
    items: (m, dim) unit rows.
    """
    places, rights = ranks(queries, items, pairs)
    recall = {f"recall@{depth}": float((places <= depth).mean()) for depth in DEPTHS}
    guessed = {f"recall@{depth}": expected_recall(rights, len(items), depth) for depth in DEPTHS}
    return Retrieval(
        queries=len(places),
        items=len(items),
        metrics=recall | {"median rank": float(np.median(places))},
        chance=guessed | {"median rank": float(np.median((len(items) + 1) / (rights + 1)))},
    )


def ranks(queries: Floats, items: Floats, pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Place of each query's best-placed right item, from 1, and how many right items it has; queries without one left out.

    Wrong items that score as much stand before it, so that an encoder whose vectors are all alike finds nothing.
    """
    table = np.unique(np.array(pairs, np.int64).reshape(-1, 2), axis=0)  # sorted by query
    asked, starts, counts = np.unique(table[:, 0], return_index=True, return_counts=True)
    places = np.empty(len(asked), np.int64)
    for part in blocks(len(asked), len(items)):
        scores = queries[asked[part]] @ items.T
        inside = slice(starts[part.start], starts[part.stop - 1] + counts[part.stop - 1])
        rows = np.repeat(np.arange(len(scores)), counts[part])
        right = scores[rows, table[inside, 1]]
        begins = starts[part] - starts[part.start]
        best = np.maximum.reduceat(right, begins)
        tied = np.add.reduceat(right >= best[rows], begins)  # right ones among those that score as much
        places[part] = 1 + np.count_nonzero(scores >= best[:, None], axis=1) - tied
    return places, counts


def blocks(queries: int, items: int) -> Iterator[slice]:
    """So many queries at a time that their scores fit into `CHUNK_BYTES`."""
    size = max(1, CHUNK_BYTES // (4 * max(1, items)))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def expected_recall(rights: NDArray[np.int64], items: int, depth: int) -> float:
    """Chance that one of a query's right items is among `depth` drawn without putting back, mean over the queries."""
    missed = np.ones(len(rights))
    for drawn in range(min(depth, items)):
        missed *= np.clip(items - rights - drawn, 0, None) / (items - drawn)
    return float(1 - missed.mean())
