"""What pulls a sensor's vector towards its anchor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def symmetric_info_nce(
    vectors: Tensor, anchors: Tensor, positives: Tensor, *, temperature: float | Tensor, smoothing: float = 0.0
) -> Tensor:
    """InfoNCE both ways, L_{A,M} + L_{M,A}, with as many positives as a row has.

    ImageBind's loss (Girdhar et al. 2023, eq. 1) knows one positive a row. Where anchors are prompts, the windows of one
    class share theirs, and calling them negatives would push a class away from itself; each row's target is therefore
    spread evenly over its positives (Khosla et al. 2020, L_out).

    Parameters
    ----------
    vectors: (batch, dim) unit rows of the sensor.
    anchors: (batch, dim) unit rows; row i belongs to vector i.
    positives: (batch, batch), above 0 where vector i and anchor j belong together; each row and column has one.
    smoothing: share of the target spread evenly over the whole batch.
    """
    logits = vectors @ anchors.T / temperature
    forward = _cross_entropy(logits, positives, smoothing)
    backward = _cross_entropy(logits.T, positives.T, smoothing)
    return forward + backward


def prompt_cross_entropy(
    vectors: Tensor, prompts: Tensor, weights: Tensor, *, temperature: float | Tensor, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy against the canonical prompts: what zero-shot labelling will ask of the vector.

    Parameters
    ----------
    vectors: (batch, dim) unit rows.
    prompts: (classes, dim) unit rows.
    weights: (batch, classes), rows sum to 1: one-hot, or mixed where samples were mixed.
    """
    return _cross_entropy(vectors @ prompts.T / temperature, weights, smoothing)


def _cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    target = target / target.sum(dim=1, keepdim=True).clamp_min(1e-6)
    target = (1 - smoothing) * target + smoothing / target.shape[1]
    return -(target * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()


def same_class(labels: Tensor) -> Tensor:
    """(batch,) class indices -> (batch, batch), 1 where two rows are of one class."""
    return (labels[:, None] == labels[None, :]).to(torch.float32)
