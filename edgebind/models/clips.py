"""Towers before videos: the vectors of a video's clips are averaged, as ImageBind's authors do."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgebind.models.imagebind import Tower

IMAGEBIND_FRAMES = 2
"""What one temporal patch of ImageBind's vision tower covers."""


def embed(tower: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs as `edgebind.preprocess.videos.inputs` makes them -> (batch, dim) unit rows.

    A tower made for clips of so many frames gets a clip whole; any other gets each of its frames as a picture. One view of
    every item passes at a time, so that memory does not depend on how many there are.
    """
    if inputs.ndim != 6:  # no videos
        vectors: Tensor = tower(inputs)
        return vectors
    first, *others = seen_by(tower, inputs)
    total = tower(first)
    for view in others:
        total = total + tower(view)
    return functional.normalize(total, dim=-1)


def seen_by(tower: nn.Module, inputs: Tensor) -> list[Tensor]:
    """What passes through a tower, one view of every item after the other; of what is no video the inputs as they are."""
    if inputs.ndim != 6:
        return [inputs]
    return views(inputs, together=takes_together(tower) == inputs.shape[3])


def takes_together(tower: nn.Module) -> int:
    """How many frames of a video one input holds: 1 but for ImageBind's vision tower."""
    return IMAGEBIND_FRAMES if isinstance(tower, Tower) and tower.modality == "vision" else 1


def views(inputs: Tensor, *, together: bool) -> list[Tensor]:
    """(batch, clips, 3, frames, size, size) -> what passes through a tower, (batch, 3[, frames], size, size) each.

    Parameters
    ----------
    together: whether a clip's frames are one input.
    """
    clips = inputs.unbind(dim=1)
    return list(clips) if together else [frame for clip in clips for frame in clip.unbind(dim=2)]
