"""Small towers for motion: strided convolutions over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ImuStudent(nn.Module):
    """Strided convolutions over time; the head sees what happened (the mean) and when (a narrow map of every moment).

    Beside its six channels the trunk reads each again without its mean and at unit strength: how a thing moves, whatever
    its speed and weight. Terrains are told apart by that shape; a slow robot and a fast one shake alike in it.
    """

    def __init__(
        self,
        *,
        dim: int,
        length: int = 200,
        channels: Sequence[int] = (48, 96, 128, 192),
        kernels: Sequence[int] = (9, 5, 5, 3),
        local: int = 32,
        hidden: int = 256,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.length = length
        layers: list[nn.Module] = []
        width = 12
        for out, kernel in zip(channels, kernels, strict=True):
            convolution = nn.Conv1d(width, out, kernel, stride=2, padding=kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm1d(out), nn.ReLU()]
            width, length = out, (length + 1) // 2
        self.trunk = nn.Sequential(*layers)
        self.moments = nn.Sequential(nn.Conv1d(width, local, 1, bias=False), nn.BatchNorm1d(local), nn.ReLU())
        self.hidden = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(width + local * length, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(hidden, dim)

    def forward(self, window: Tensor) -> Tensor:
        """(batch, 6, length) -> (batch, dim), unit rows."""
        features = self.trunk(torch.cat([window, _shape(window)], dim=1))
        joined = torch.cat([features.mean(dim=2), self.moments(features).flatten(1)], dim=1)
        return functional.normalize(self.head(self.hidden(joined)), dim=1)


SHAPE_FLOOR = 0.02
"""Below this strength, in units of the preprocessed input, a movement fades instead of being blown up to unit strength."""


def _shape(window: Tensor) -> Tensor:
    """(batch, channels, length) -> each channel without its mean, divided by its root mean square."""
    moving = window - window.mean(dim=2, keepdim=True)
    strength = (moving * moving).mean(dim=2, keepdim=True).sqrt()
    return moving / (strength + SHAPE_FLOOR)
