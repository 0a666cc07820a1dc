"""Small towers for pictures of any kind, thermal, depth, mel or colour: a short residual net."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebind.models.students.committee import Committee


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


class PictureStudent(nn.Module):
    """A short residual net; the head sees the mean and the maximum of every feature, and where asked a map of places.

    Nothing in it depends on the picture's size, so one set of weights reads any that is a multiple of the map's.
    """

    def __init__(
        self, *, dim: int, widths: Sequence[int], places: int = 0, local: int = 16, dropout: float = 0.1
    ) -> None:
        """
        Parameters
        ----------
        widths: channels from the picture's own on; where two follow that are equal, the size is kept.
        places: side of a map of `local` channels that tells the head what is where; 0 for none. A thing is what it is
            wherever it stands, but a scene is known by its layout.
        """
        super().__init__()
        last = widths[-1]
        self.trunk = nn.Sequential(*(_Step(width, out) for width, out in itertools.pairwise(widths)))
        self.places = _Places(last, local, places) if places else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * last + local * places**2, dim)

    def forward(self, picture: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, dim), unit rows."""
        features = self.trunk(picture)
        seen = [features.mean(dim=(2, 3)), features.amax(dim=(2, 3))]
        if self.places is not None:
            seen.append(self.places(features))
        return functional.normalize(self.head(self.dropout(torch.cat(seen, dim=1))), dim=1)


class AudioStudent(PictureStudent):
    """A picture student over the log-mel of each clip; a sound is the mean of its clips' unit vectors, as in ImageBind."""

    def forward(self, clips: Tensor) -> Tensor:
        """(batch, clips, 1, mel, frames) -> (batch, dim), unit rows."""
        vectors = super().forward(clips.flatten(0, 1))
        return functional.normalize(vectors.reshape(-1, clips.shape[1], vectors.shape[1]).mean(dim=1), dim=1)


class _Places(nn.Module):
    """A narrow map of what is where: 1x1 convolution, BatchNorm, ReLU, mean over each place."""

    def __init__(self, width: int, local: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.convolution = nn.Conv2d(width, local, 1, bias=False)
        self.norm = nn.BatchNorm2d(local)

    def forward(self, features: Tensor) -> Tensor:
        narrow = functional.relu(self.norm(self.convolution(features)))
        return functional.adaptive_avg_pool2d(narrow, self.side).flatten(1)


def make_committee(*, dim: int) -> Committee:
    """Five students, each more than twice as large as the one that they teach."""
    return Committee([PictureStudent(dim=dim, widths=(1, 24, 48, 48, 96, 96, 192, 192)) for _ in range(5)])
