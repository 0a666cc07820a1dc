"""Metrics against scikit-learn, and against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from edgebind.evaluate import zero_shot
from edgebind.evaluate.zero_shot import Targets


def _random(items: int, classes: int, *, ties: bool = False, seed: int = 0) -> tuple[NDArray[np.float32], Targets]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(items, classes)).astype(np.float32)
    truth = tuple((int(target),) for target in rng.integers(0, classes, items))
    return np.round(scores, 1) if ties else scores, truth


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_single_classes_are_judged_as_scikit_learn_judges_them(classes: int) -> None:
    scores, targets = _random(400, classes)
    truth = [target for (target,) in targets]
    found = zero_shot.judge(scores, targets)
    assert found.metrics["top1"] == pytest.approx(sklearn_metrics.accuracy_score(truth, found.guesses))
    assert found.metrics["balanced"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(truth, found.guesses))
    np.testing.assert_array_equal(found.confusion, sklearn_metrics.confusion_matrix(truth, found.guesses))
    assert ("top5" in found.metrics) == (classes > 5)
    if classes > 5:
        wanted = sklearn_metrics.top_k_accuracy_score(truth, scores, k=5)
        assert found.metrics["top5"] == pytest.approx(wanted)


@pytest.mark.parametrize("ties", [False, True])
def test_map_is_scikit_learns(ties: bool) -> None:
    scores, _ = _random(300, 6, ties=ties)
    truth = np.random.default_rng(1).random((300, 6)) < 0.2
    truth[:, 4] = False  # a class that never occurs is left out
    targets = tuple(tuple(np.flatnonzero(row).tolist()) for row in truth)
    found = zero_shot.judge(scores, targets, several=True)
    occurring = [0, 1, 2, 3, 5]
    wanted = sklearn_metrics.average_precision_score(truth[:, occurring], scores[:, occurring], average="macro")
    assert found.metrics["map"] == pytest.approx(wanted, abs=1e-9)
    assert found.confusion is None
    wrong = np.where(truth, -np.inf, scores).max(axis=1)
    assert found.metrics["top1"] == pytest.approx((np.where(truth, scores, -np.inf).max(axis=1) > wrong).mean())


def test_average_precision_by_hand() -> None:
    # Ranks of the two right ones: 1 and 3, precision there 1 and 2/3, each half of the recall.
    found = zero_shot.average_precision(np.array([True, False, True, False]), np.array([4, 3, 2, 1], np.float32))
    assert found == pytest.approx((1 + 2 / 3) / 2)


def test_an_encoder_whose_vectors_are_all_alike_knows_nothing() -> None:
    found = zero_shot.judge(np.ones((50, 8), np.float32), ((0,),) * 40 + ((1,),) * 10)
    assert found.metrics == {"top1": 0, "balanced": 0, "top5": 0}


def test_of_classes_that_score_alike_a_wrong_one_is_taken() -> None:
    scores = np.array([[3, 3, 1], [1, 3, 3], [3, 1, 3], [1, 2, 3]], np.float32)
    found = zero_shot.judge(scores, ((0,), (1,), (1,), (2,)))
    assert found.guesses.tolist() == [1, 2, 0, 2]
    assert found.metrics["top1"] == 0.25


def test_chance_is_what_guessing_gets() -> None:
    scores, targets = _random(20_000, 8)
    found, expected = zero_shot.judge(scores, targets).metrics, zero_shot.chance(targets, 8)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.02)
    truth = np.random.default_rng(1).random((20_000, 8)) < np.linspace(0.02, 0.4, 8)
    several = tuple(tuple(np.flatnonzero(row).tolist()) for row in truth)
    found, expected = zero_shot.judge(scores, several, several=True).metrics, zero_shot.chance(several, 8, several=True)
    assert set(found) == set(expected)
    assert found["map"] == pytest.approx(expected["map"], abs=0.02)
