"""Small towers for edge devices: a few large kernels, BatchNorm that folds into them, nothing that INT8 dislikes.

    name        input              parameters   MACs a window
    imu-s       (batch, 6, T)      see `edgebind inspect` of a bundle made from it
    thermal-s   (batch, 1, S, S)

Each forward returns unit rows, so that what is trained is what is exported.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebind.errors import OptionError


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


class _Step(nn.Module):
    """3x3 convolution, BatchNorm, ReLU; halves the image, or keeps its size and adds its input."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.keeps = width == out
        self.convolution = nn.Conv2d(width, out, 3, stride=1 if self.keeps else 2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, image: Tensor) -> Tensor:
        new = self.norm(self.convolution(image))
        return functional.relu(image + new if self.keeps else new)


class ThermalStudent(nn.Module):
    """A short residual net; the head sees the mean and the maximum of every feature."""

    def __init__(
        self, *, dim: int, widths: Sequence[int] = (1, 16, 32, 32, 64, 64, 128, 128), dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(_Step(width, out) for width, out in itertools.pairwise(widths)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * widths[-1], dim)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 1, size, size) -> (batch, dim), unit rows."""
        features = self.trunk(image)
        joined = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return functional.normalize(self.head(self.dropout(joined)), dim=1)


_ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "imu-s": ImuStudent,
    "thermal-s": ThermalStudent,
}


def build(name: str, *, dim: int) -> nn.Module:
    """A fresh tower of the architecture called `name`, whose vectors have `dim` entries.

    Raises
    ------
    OptionError: there is none of that name.
    """
    if name not in _ARCHITECTURES:
        raise OptionError("unknown student", wanted=" or ".join(_ARCHITECTURES), got=repr(name))
    return _ARCHITECTURES[name](dim=dim)


def count_macs(tower: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of one input in convolutions and linear layers."""
    total = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        per_output = weight[0].numel()
        total += output[0].numel() * per_output

    hooks = [
        m.register_forward_hook(count) for m in tower.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear))
    ]
    with torch.no_grad():
        tower.eval()(example[:1])
    for hook in hooks:
        hook.remove()
    return total
