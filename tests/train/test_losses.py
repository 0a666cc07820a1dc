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
