"""Draws that never look at a judged group, and a probe against scikit-learn's own on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from edgebind.errors import OptionError
from edgebind.evaluate import few_shot, zero_shot

Floats = NDArray[np.float32]
Items = tuple[Floats, tuple[tuple[int, ...], ...], tuple[str, ...]]


def _items(people: int = 6, each: int = 10, classes: int = 3, spread: float = 0.2) -> Items:
    """Every person does everything `each` times."""
    rng = np.random.default_rng(0)
    centres = np.eye(classes, 8)
    targets = [(c,) for _ in range(people) for c in range(classes) for _ in range(each)]
    groups = tuple(f"p{person}" for person in range(people) for _ in range(classes * each))
    vectors = np.stack([centres[c] for (c,) in targets]) + rng.normal(0, spread, (len(targets), 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), tuple(targets), groups


def _divide(groups: tuple[str, ...] = (), training: tuple[int, ...] = (), seed: int = 0) -> few_shot.Division:
    _, targets, _ = _items()
    return few_shot.divide(zero_shot.indicators(targets, 3), groups, training, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_both_learned_from_and_judged(seed: int) -> None:
    _, _, groups = _items()
    found = _divide(groups, seed=seed)
    learned, judged = ({groups[row] for row in rows} for rows in (found.learned, found.judged))
    assert len(learned) == len(judged) == 3
    assert not learned & judged
    assert all(sum(_items()[1][row] == (target,) for row in found.learned) == 30 for target in range(3))


def test_of_many_halves_the_one_that_tells_most_is_taken() -> None:
    """Two of eight people do what nobody else does: they are never both learned from, nor both judged."""
    groups = tuple(f"p{person}" for person in range(8) for _ in range(4))
    targets = [(at % 2,) for at in range(32)]
    targets[0] = targets[1] = targets[4] = (2,)
    truth = zero_shot.indicators(targets, 3)
    for seed in range(8):
        found = few_shot.divide(truth, groups, (), np.random.default_rng(seed))
        assert found.classes.tolist() == [0, 1, 2]
        # Of the two, the one with more examples of it is learned from.
        assert {0, 1} <= set(found.learned.tolist()) and 4 in found.judged


def test_the_data_sets_own_division_is_kept() -> None:
    found = _divide(training=tuple(range(60)))
    assert found.learned.tolist() == list(range(60))
    assert found.judged.tolist() == list(range(60, 180))


def test_draws_go_round_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, targets, groups = _items()
    drawn: dict[int, set[int]] = {}

    def note(
        _: Floats, __: NDArray[np.bool_], rows: NDArray[np.int64], division: few_shot.Division
    ) -> dict[str, float]:
        assert not set(rows.tolist()) & set(division.judged.tolist())
        drawn[len(rows)] = set(rows.tolist())
        return {"top1": 0.0}

    monkeypatch.setattr(few_shot, "_judge_one", note)
    few_shot.curve(vectors, targets, 3, groups=groups, shots=(1, 3, 6), seeds=1)
    assert set(drawn) == {3, 9, 18}
    assert drawn[3] < drawn[9] < drawn[18]
    for target in range(3):
        mine = [groups[row] for row in drawn[9] if targets[row] == (target,)]
        assert len(set(mine)) == 3  # three shots, three people


def test_a_curve_rises_and_has_a_spread() -> None:
    vectors, targets, groups = _items(spread=0.6)
    points = few_shot.curve(vectors, targets, 3, groups=groups, shots=(1, 16), seeds=6)
    assert [point.shots for point in points] == [1, 16]
    assert points[0].mean("balanced") + 0.1 < points[1].mean("balanced")
    assert points[0].spread("top1") == pytest.approx(np.std(points[0].metrics["top1"], ddof=1))
    again = few_shot.curve(vectors, targets, 3, groups=groups, shots=(1, 16), seeds=6)
    assert again == points
    assert few_shot.curve(vectors, targets, 3, groups=groups, shots=(1, 16), seeds=6, seed=1) != points


def test_the_probe_is_scikit_learns() -> None:
    vectors, targets, _ = _items(spread=0.6)
    division = _divide(training=tuple(range(90)))
    rows = np.arange(0, 90, 7)
    truth = np.array([target for (target,) in targets])
    found = few_shot._judge_one(vectors, zero_shot.indicators(targets, 3), rows, division)
    # C = 100 on unit rows is C = 1 on rows ten times as long.
    probe = LogisticRegression(C=1.0, max_iter=2000).fit(10 * vectors[rows], truth[rows])
    assert found["top1"] == pytest.approx(probe.score(10 * vectors[90:], truth[90:]), abs=0.02)


def test_items_of_several_classes_get_a_probe_a_class() -> None:
    vectors, targets, groups = _items()
    several = tuple((*mine, 3) if at % 2 else mine for at, mine in enumerate(targets))
    points = few_shot.curve(vectors, several, 4, several=True, groups=groups, shots=(8,), seeds=2)
    assert 0.5 < points[0].mean("map") <= 1.0


def test_a_number_of_shots_that_a_class_has_not_is_left_out() -> None:
    vectors, targets, groups = _items(people=2, each=5)
    assert [p.shots for p in few_shot.curve(vectors, targets, 3, groups=groups, shots=(1, 4, 8), seeds=2)] == [1, 4]


def test_one_group_cannot_be_divided() -> None:
    vectors, targets, _ = _items(people=1)
    with pytest.raises(OptionError, match="two classes in two groups"):
        few_shot.curve(vectors, targets, 3, groups=("p0",) * len(targets))
