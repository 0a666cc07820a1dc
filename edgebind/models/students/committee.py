"""Several towers of one kind that answer together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Committee(nn.Module):
    """Several students that answer together: a teacher. The mean of unit vectors forgets what only one of them believes.

    In training each member sees its own part of the batch, so that they stay strangers to each other, and so that a step
    costs what one member's would. A batch needs at least two rows for each member, as BatchNorm does.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, ...) as its members read it -> (batch, dim), unit rows."""
        if self.training:
            parts = inputs.tensor_split(len(self.members))
            return torch.cat([member(part) for member, part in zip(self.members, parts, strict=True)])
        answers = torch.stack([member(inputs) for member in self.members])
        return functional.normalize(answers.mean(dim=0), dim=1)
