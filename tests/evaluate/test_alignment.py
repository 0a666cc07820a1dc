"""Alignment of made-up modalities: one that is the other turned a little, and one that knows nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from edgebind.errors import OptionError
from edgebind.evaluate import alignment, fusion, retrieval
from edgebind.evaluate.alignment import Labelled
from edgebind.evaluate.encoder import unit_rows

Floats = NDArray[np.float32]


def _unit(count: int, dim: int = 16, seed: int = 0) -> Floats:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def _near(vectors: Floats, noise: float, seed: int = 1) -> Floats:
    return unit_rows(vectors + noise * _unit(len(vectors), vectors.shape[1], seed))


PAIRS = [(at, at) for at in range(60)]


def test_pairs_that_belong_together_are_nearer_than_chance() -> None:
    left = _unit(60)
    right = _near(left, 1.5)
    found = alignment.of_pairs(left, right, PAIRS)
    assert found.cosine == pytest.approx(float(np.mean(np.sum(left * right, axis=1))), abs=1e-6)
    assert found.shuffled == pytest.approx(float(left.mean(axis=0) @ right.mean(axis=0)), abs=0.02)
    assert found.p == pytest.approx(1 / 1001)
    cosines = left @ right.T
    wanted = roc_auc_score(np.eye(60, dtype=bool).ravel(), cosines.ravel())
    assert found.nearer == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 60 * 7, 1 << 20])
def test_shuffles_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(retrieval, "CHUNK_BYTES", chunk_bytes)
    left, right = _unit(60), _unit(60, seed=3)
    found = alignment.of_pairs(left, right, PAIRS, seed=5, shuffles=40)
    rng = np.random.default_rng(5)
    means = [float(np.mean(np.sum(left * right[rng.permutation(60)], axis=1))) for _ in range(40)]
    true = float(np.mean(np.sum(left * right, axis=1)))
    assert found.shuffled == pytest.approx(np.mean(means), abs=1e-6)
    assert found.spread == pytest.approx(np.std(means), abs=1e-6)
    assert found.p == pytest.approx((1 + sum(mean >= true for mean in means)) / 41)


def test_vectors_that_are_all_alike_do_not_align() -> None:
    same = np.tile(_unit(1), (60, 1))
    found = alignment.of_pairs(same, same, PAIRS)
    assert (found.nearer, found.p) == (0.5, 1.0)


def test_thousands_of_pairs_that_are_all_alike_do_not_align_either() -> None:
    pairs = [(at, at) for at in range(2000)]
    for seed in range(3):  # rounding may fall to either side
        left, right = (np.tile(_unit(1, seed=seed + 10 * side), (2000, 1)) for side in (1, 2))
        found = alignment.of_pairs(left, right, pairs, shuffles=40)
        assert found.shuffled == pytest.approx(found.cosine, abs=1e-7)
        assert found.p == 1.0


def test_pairs_that_know_nothing_of_each_other_are_at_chance() -> None:
    found = alignment.of_pairs(_unit(60), _unit(60, seed=7), PAIRS)
    assert found.p > 0.02
    assert found.nearer == pytest.approx(0.5, abs=0.12)


def test_a_modality_gap_is_no_alignment() -> None:
    # All of one side lie far from the other, and still each pair is nearer than other pairs.
    left = _unit(60)
    right = unit_rows(_near(left, 0.5) - 3 * np.eye(16, dtype=np.float32)[0])
    found = alignment.of_pairs(left, right, PAIRS)
    assert found.cosine - found.shuffled > 5 * found.spread


def _labelled(centres: Floats, names: tuple[str, ...], seed: int) -> Labelled:
    rows = np.repeat(centres, 5, axis=0)
    return Labelled(_near(rows, 0.5, seed), [name for name in names for _ in range(5)])


def test_classes_of_one_name_are_compared_however_they_are_spelled() -> None:
    centres = _unit(4)
    left = _labelled(centres, ("DOG_BARK", "rain", "cat", "sea"), 1)
    right = _labelled(centres[[1, 0, 2]], ("Rain", "dog bark", "Cat"), 2)
    found = alignment.of_classes(left, right)
    assert found.classes == ("cat", "dog bark", "rain")
    assert (found.found, found.balanced) == (1.0, (1.0, 1.0))
    assert found.chance == pytest.approx(1 / 3)
    swapped = Labelled(right.vectors, ["cat"] * 5 + ["rain"] * 5 + ["dog bark"] * 5)
    assert alignment.of_classes(left, swapped).found == 0.0


def test_one_class_in_common_says_nothing() -> None:
    left = _labelled(_unit(2), ("a", "b"), 1)
    with pytest.raises(OptionError, match="too few classes in common"):
        alignment.of_classes(left, _labelled(_unit(2), ("b", "c"), 2))


def test_a_sum_lies_between_its_parts_at_unit_length() -> None:
    east, north = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    np.testing.assert_allclose(fusion.fuse(east, north), [[0.5**0.5, 0.5**0.5]], atol=1e-6)
    np.testing.assert_allclose(fusion.fuse(east, north, 1.0), east)
    np.testing.assert_allclose(fusion.fuse(east, north, 0.8), [[0.8, 0.2]] / np.hypot(0.8, 0.2), atol=1e-6)
    with pytest.raises(OptionError, match="cannot be added"):
        fusion.fuse(east, np.eye(2, 3, dtype=np.float32))
    with pytest.raises(OptionError, match="share"):
        fusion.fuse(east, north, 1.5)


def test_common_items_are_found_by_name() -> None:
    assert fusion.common(["a", "b", "c"], ["c", "x", "a"]) == ([0, 2], [2, 0])
