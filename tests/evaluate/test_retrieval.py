"""Ranks against a loop that a child could follow, in pieces of any size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgebind.evaluate import retrieval

Floats = NDArray[np.float32]


def _unit(count: int, dim: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _slow_ranks(queries: Floats, items: Floats, pairs: list[tuple[int, int]]) -> list[int]:
    places = []
    for query in sorted({first for first, _ in pairs}):
        right = {second for first, second in pairs if first == query}
        scores = queries[query] @ items.T
        order = sorted(range(len(items)), key=lambda at: (-scores[at], at in right))  # of equals, the wrong ones first
        places.append(1 + min(order.index(at) for at in right))
    return places


@pytest.mark.parametrize("chunk_bytes", [1, 500, 1 << 20])
def test_ranks_are_those_of_a_sorted_list(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(retrieval, "CHUNK_BYTES", chunk_bytes)
    queries, items = _unit(40, 8, 0), _unit(60, 8, 1)
    rng = np.random.default_rng(2)
    pairs = [(int(rng.integers(40)), int(rng.integers(60))) for _ in range(70)] + [(3, 5), (3, 5), (3, 6)]
    places, rights = retrieval.ranks(queries, items, pairs)
    assert places.tolist() == _slow_ranks(queries, items, pairs)
    assert rights.tolist() == [len({b for a, b in pairs if a == q}) for q in sorted({a for a, _ in pairs})]


def test_five_captions_of_a_sound() -> None:
    sounds = np.eye(3, dtype=np.float32)
    captions = np.repeat(sounds, 5, axis=0)  # caption 5 k + i belongs to sound k ...
    captions[5:10] = sounds[2]  # ... but those of sound 1 speak of sound 2
    pairs = [(at, at // 5) for at in range(15)]
    asked, answered = retrieval.both_ways(captions, sounds, pairs)
    assert (asked.queries, asked.items, answered.queries, answered.items) == (15, 3, 3, 15)
    assert asked.metrics["recall@1"] == pytest.approx(10 / 15)
    assert asked.metrics["recall@5"] == 1.0
    # Sound 2 has ten captions as near as each other, five of them wrong: they stand before its own.
    assert answered.metrics["recall@1"] == pytest.approx(1 / 3)
    assert answered.metrics["median rank"] == 6


def test_vectors_that_are_all_alike_find_nothing() -> None:
    same = np.full((20, 4), 0.5, np.float32)
    found = retrieval.retrieve(same, same, [(at, at) for at in range(20)])
    assert found.metrics == {"recall@1": 0, "recall@5": 0, "recall@10": 0, "median rank": 20}


def test_a_query_without_a_right_item_is_not_asked() -> None:
    found = retrieval.retrieve(_unit(5, 4, 0), _unit(5, 4, 0), [(2, 2)])
    assert (found.queries, found.items, found.metrics["recall@1"]) == (1, 5, 1.0)


def test_chance_is_what_a_random_order_gets() -> None:
    pairs = [(at, at) for at in range(200)] + [(at, at + 1) for at in range(0, 199, 3)]
    found = retrieval.retrieve(_unit(200, 64, 0), _unit(200, 64, 1), pairs)
    many = [
        retrieval.retrieve(_unit(200, 64, s), _unit(200, 64, s + 1), pairs).metrics["recall@10"] for s in range(2, 42)
    ]
    assert np.mean(many) == pytest.approx(found.chance["recall@10"], abs=0.01)
    assert retrieval.expected_recall(np.array([1, 2]), 4, 1) == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert retrieval.expected_recall(np.array([2]), 4, 2) == pytest.approx(1 - (2 / 4) * (1 / 3))
    assert retrieval.expected_recall(np.array([3]), 3, 10) == 1.0
