"""What pulls a sensor's vector towards its anchor, and a student's towards its teacher's."""

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


# --- a student and its teacher ----------------------------------------------------------------------------------------


def affinity(vectors: Tensor, teacher: Tensor, anchors: Tensor, *, temperature: float) -> Tensor:
    """How differently a student and its teacher judge what is like what: KL(teacher, student) of similarity rows, both ways.

    TinyCLIP's affinity mimicking (Wu et al. 2023, eq. 3 to 5): a row says which anchors an item is like, a column which
    items an anchor is like, and the student's are to be the teacher's.

    Parameters
    ----------
    vectors, teacher: (batch, dim) unit rows of the same items.
    anchors: (anchors, dim) unit rows: the teacher's vectors of the batch, or those of prompts.
    """
    wanted, found = teacher @ anchors.T / temperature, vectors @ anchors.T / temperature
    return _divergence(wanted, found) + _divergence(wanted.T, found.T)


def _divergence(wanted: Tensor, found: Tensor) -> Tensor:
    """Mean over rows of KL(softmax(wanted), softmax(found))."""
    logs = functional.log_softmax(found, dim=1)
    return functional.kl_div(logs, functional.log_softmax(wanted, dim=1), reduction="batchmean", log_target=True)


def contrast(vectors: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE both ways between a student's vectors and its teacher's of the same items.

    Interactive contrastive learning (Yang et al. 2024, CLIP-KD): each vector is to find its own teacher's among those of the batch.
    """
    return symmetric_info_nce(vectors, teacher, torch.eye(len(vectors), device=vectors.device), temperature=temperature)


def unit_mse(vectors: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of unit rows (batch, dim): 2 - 2 x cosine."""
    return (vectors - teacher).square().sum(dim=1).mean()
