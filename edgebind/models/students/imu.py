"""Towers for motion: strided convolutions over time, on views of the window that do not care how the sensor is worn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebind.models.students.committee import Committee

VIEWS = 20
"""Channels that `views` makes of six."""

FLOOR = 0.02
"""Below this strength, in units of a view, a movement fades instead of being blown up to unit strength."""

LEAST_GRAVITY = 0.05
"""g. Below it the accelerometer is silent and there is no upright; this keeps the division finite."""


class ImuStudent(nn.Module):
    """Strided convolutions over time; the head sees what happened (the mean) and when (a narrow map of every moment)."""

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
        """`channels` and `kernels` are those of the convolutions, each of which halves the length; `local` is the map's width."""
        super().__init__()
        self.length = length
        layers: list[nn.Module] = []
        width = VIEWS
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
        """(batch, 6, length) in g and rad/s -> (batch, dim), unit rows."""
        features = self.trunk(views(window))
        joined = torch.cat([features.mean(dim=2), self.moments(features).flatten(1)], dim=1)
        return functional.normalize(self.head(self.hidden(joined)), dim=1)


def views(window: Tensor) -> Tensor:
    """What the convolutions read: (batch, 6, length) in g and rad/s -> (batch, VIEWS, length), about -4 to 4.

    The six channels, companded; four that stay the same however the sensor is turned, because gravity says where up is:
    acceleration and rotation along it, and what of both lies across it; and all ten again without their mean and at unit
    strength: how a thing moves, whatever its speed and weight. Terrains are told apart by that shape; a slow robot and a
    fast one shake alike in it. Turning is told from walking by the rotation about the upright.
    """
    acceleration, rotation = window[:, :3], window[:, 3:]
    worn = torch.cat([acceleration, compand(rotation)], dim=1)
    free = _upright(acceleration, rotation)
    return torch.cat([worn, _shape(worn), free, _shape(free)], dim=1).clamp(-4, 4)


def compand(values: Tensor) -> Tensor:
    """Linear to about 0.05, logarithmic above: a robot's tremor and a wrist's swing both leave a mark."""
    return 0.25 * torch.asinh(20 * values)


def _upright(acceleration: Tensor, rotation: Tensor) -> Tensor:
    """(batch, 3, length) each -> (batch, 4, length): along and across gravity, companded; gravity itself is taken out."""
    gravity = acceleration.mean(dim=2, keepdim=True)
    strength = gravity.square().sum(dim=1, keepdim=True).sqrt()
    up = gravity / strength.clamp_min(LEAST_GRAVITY)
    rise, sway = _along_and_across(acceleration, up)
    yaw, tilt = _along_and_across(rotation, up)
    return compand(torch.cat([0.5 * (rise - strength), 0.5 * sway, yaw, tilt], dim=1))


def _along_and_across(vector: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, 3, length) and (batch, 3, 1) -> (batch, 1, length) each."""
    along = (vector * up).sum(dim=1, keepdim=True)
    across = (vector - along * up).square().sum(dim=1, keepdim=True)
    return along, across.sqrt()


def _shape(channels: Tensor) -> Tensor:
    """(batch, channels, length) -> each channel without its mean, divided by its root mean square."""
    moving = channels - channels.mean(dim=2, keepdim=True)
    strength = moving.square().mean(dim=2, keepdim=True).sqrt()
    return moving / (strength + FLOOR)


def make_committee(*, dim: int) -> Committee:
    """Four students whose first look at the window is of different length, which is what makes them disagree."""
    looks = ((9, 5, 5, 3), (15, 9, 5, 3), (5, 5, 5, 5), (21, 7, 5, 3))
    channels = (96, 160, 224, 320)
    members = [
        ImuStudent(dim=dim, channels=channels, kernels=kernels, local=48, hidden=384, dropout=0.3) for kernels in looks
    ]
    return Committee(members)
