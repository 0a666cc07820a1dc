"""What a tower costs: its parameters, and the multiply-accumulates of one input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgebind.models import clips
from edgebind.train.nodes import Backed


@dataclass(frozen=True)
class Cost:
    """Of one tower."""

    parameters: int
    macs: int
    """Of one input, in convolutions and matrix products."""


def cost_of(tower: nn.Module, example: Tensor) -> Cost:
    """Count a tower's parameters, and what it computes for the first row of `example`: of a video one view."""
    if isinstance(tower, Backed):
        return _of_bundle(tower, example)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tower.eval()(clips.seen_by(tower, example[:1])[0])
    return Cost(sum(p.numel() for p in tower.parameters()), counter.get_total_flops() // 2)


def _of_bundle(tower: Backed, example: Tensor) -> Cost:
    from edgebind.bundle import ENCODER
    from edgebind.calibration.graph import Graph

    path = tower.bundle.folder / ENCODER
    graph = Graph.read(path)
    macs = sum(graph.macs(clips.seen_by(tower, example[:1])[0].cpu().numpy(), path).values())
    return Cost(sum(math.prod(tensor.dims) for tensor in graph.weights.values()), macs)
