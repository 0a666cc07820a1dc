"""The losses against PyTorch's own, and against what can be worked out by hand."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from edgebind.train import losses


def _unit(*shape: int) -> torch.Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))), dim=-1)


def test_one_positive_a_row_is_the_usual_info_nce() -> None:
    vectors, anchors = _unit(6, 16), _unit(6, 16).flip(0)
    logits, diagonal = vectors @ anchors.T / 0.2, torch.arange(6)
    usual = functional.cross_entropy(logits, diagonal) + functional.cross_entropy(logits.T, diagonal)
    ours = losses.symmetric_info_nce(vectors, anchors, torch.eye(6), temperature=0.2)
    torch.testing.assert_close(ours, usual)


def test_smoothing_is_pytorchs_label_smoothing() -> None:
    vectors, anchors = _unit(5, 8), _unit(5, 8).flip(1)
    diagonal = torch.arange(5)
    logits = vectors @ anchors.T / 0.1
    usual = sum(functional.cross_entropy(side, diagonal, label_smoothing=0.1) for side in (logits, logits.T))
    ours = losses.symmetric_info_nce(vectors, anchors, torch.eye(5), temperature=0.1, smoothing=0.1)
    torch.testing.assert_close(ours, usual)


def test_windows_of_one_class_do_not_push_each_other_away() -> None:
    # Two windows of one class on one anchor: nothing is left to learn but the coin that tells the rows apart.
    vector = _unit(1, 4).repeat(2, 1)
    loss = losses.symmetric_info_nce(vector, vector, torch.ones(2, 2), temperature=0.05)
    assert math.isclose(loss.item(), 2 * math.log(2), rel_tol=1e-5)


def test_prompt_cross_entropy_is_pytorchs() -> None:
    vectors, prompts, labels = _unit(7, 8), _unit(3, 8), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    usual = functional.cross_entropy(vectors @ prompts.T / 0.1, labels, label_smoothing=0.05)
    one_hot = functional.one_hot(labels, 3).float()
    ours = losses.prompt_cross_entropy(vectors, prompts, one_hot, temperature=0.1, smoothing=0.05)
    torch.testing.assert_close(ours, usual)


def test_same_class_marks_pairs_of_one_class() -> None:
    expected = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    torch.testing.assert_close(losses.same_class(torch.tensor([4, 2, 4])), expected)


# --- a student and its teacher ----------------------------------------------------------------------------------------


def _entropy_gap(wanted: torch.Tensor, found: torch.Tensor) -> float:
    """Mean over rows of the sum of p log(p / q), written out."""
    p, q = torch.softmax(wanted, dim=1), torch.softmax(found, dim=1)
    return float((p * (p / q).log()).sum(dim=1).mean())


def test_affinity_is_the_divergence_of_rows_and_of_columns() -> None:
    vectors, teacher, anchors = _unit(6, 16), _unit(6, 16).flip(0), _unit(4, 16).flip(1)
    wanted, found = teacher @ anchors.T / 0.2, vectors @ anchors.T / 0.2
    expected = _entropy_gap(wanted, found) + _entropy_gap(wanted.T, found.T)
    assert math.isclose(losses.affinity(vectors, teacher, anchors, temperature=0.2).item(), expected, rel_tol=1e-5)


def test_affinity_by_hand() -> None:
    # The teacher is undecided between two anchors, the student leans by log 3 towards the first: 3/4 against 1/4.
    teacher, anchors = torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)]]), torch.eye(2)
    lean = torch.tensor([[math.log(3), 0.0]])
    by_rows = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    found = losses.affinity(lean, teacher, anchors, temperature=1.0)  # columns of one row have nothing to choose
    assert math.isclose(found.item(), by_rows, rel_tol=1e-5)


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    vectors = _unit(5, 8)
    assert losses.affinity(vectors, vectors, _unit(3, 8), temperature=0.05).item() < 1e-6
    assert losses.unit_mse(vectors, vectors).item() == 0
    moved = vectors.clone().requires_grad_()
    losses.affinity(moved, vectors, vectors, temperature=0.1).backward()  # type: ignore[no-untyped-call]
    assert moved.grad is not None
    torch.testing.assert_close(moved.grad, torch.zeros_like(moved), rtol=0, atol=1e-6)


def test_contrast_is_cross_entropy_on_the_diagonal_both_ways() -> None:
    vectors, teacher = _unit(6, 16), _unit(6, 16).flip(0)
    logits, diagonal = vectors @ teacher.T / 0.1, torch.arange(6)
    expected = functional.cross_entropy(logits, diagonal) + functional.cross_entropy(logits.T, diagonal)
    torch.testing.assert_close(losses.contrast(vectors, teacher, temperature=0.1), expected)


def test_distance_of_unit_vectors_is_two_minus_two_cosines() -> None:
    vectors, teacher = _unit(7, 8), _unit(7, 8).flip(0)
    expected = 2 - 2 * functional.cosine_similarity(vectors, teacher).mean()
    torch.testing.assert_close(losses.unit_mse(vectors, teacher), expected)
