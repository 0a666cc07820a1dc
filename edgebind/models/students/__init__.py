"""Small towers for edge devices: a few large kernels, BatchNorm that folds into them, nothing that INT8 dislikes.

    name        input                       parameters   MACs of one input
    imu-xs      (batch, 6, 200)                134,608          1,451,648
    imu-s       (batch, 6, 200)                428,832          4,844,288
    imu-m       (batch, 6, 200)              1,016,480         13,553,152
    imu-l       (batch, 6, 200)                4,328,320         63,372,288   a teacher, not for a device
    thermal-xs  (batch, 1, 64, 64)             122,648          2,777,088
    thermal-s   (batch, 1, 64, 64)             390,064         10,862,592
    thermal-m   (batch, 1, 64, 64)             802,632         24,256,512
    thermal-l   (batch, 1, 64, 64)           4,013,160        121,282,560   a teacher, not for a device
    depth-s     (batch, 1, 112, 112)           651,504         29,426,688
    audio-s     (batch, 1, 1, 128, 204)        380,784         54,564,864   of each clip
    vision-s    (batch, 3, 64, 64)             513,776          8,028,160   whole scenes, in colour
    scene-s     (batch, 1, 64, 64)             513,488          7,733,248   whole scenes, thermal or depth

Parameters and MACs are those of vectors of 384 entries. Those of motion read windows of one length; all others read pictures
of any size, at a price that grows with the area; those for whole scenes see what is where, on a map of 8 x 8, and read
multiples of 64. Each forward returns unit rows, so that what is trained is what is exported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from edgebind.errors import OptionError
from edgebind.models.students import imu, picture
from edgebind.models.students.committee import Committee
from edgebind.models.students.imu import ImuStudent
from edgebind.models.students.picture import AudioStudent, PictureStudent

__all__ = ["AudioStudent", "Committee", "ImuStudent", "PictureStudent", "build", "count_macs"]

_ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "imu-xs": partial(ImuStudent, channels=(24, 48, 64, 96), local=16, hidden=128),
    "imu-s": ImuStudent,
    "imu-m": partial(ImuStudent, channels=(96, 160, 224, 320), local=48, hidden=384),
    "imu-l": imu.make_committee,
    "thermal-xs": partial(PictureStudent, widths=(1, 8, 16, 16, 32, 32, 64, 64)),
    "thermal-s": partial(PictureStudent, widths=(1, 16, 32, 32, 64, 64, 128, 128)),
    "thermal-m": partial(PictureStudent, widths=(1, 24, 48, 48, 96, 96, 192, 192)),
    "thermal-l": picture.make_committee,
    "depth-s": partial(PictureStudent, widths=(1, 16, 32, 64, 64, 128, 128, 192)),
    "audio-s": partial(AudioStudent, widths=(1, 16, 32, 64, 64, 128, 128)),
    "vision-s": partial(PictureStudent, widths=(3, 16, 32, 32, 64, 64), places=8),
    "scene-s": partial(PictureStudent, widths=(1, 16, 32, 32, 64, 64), places=8),
}

_SHAPES: dict[str, tuple[int, ...]] = {
    "imu": (6, 200),
    "thermal": (1, 64, 64),
    "depth": (1, 112, 112),
    "audio": (1, 1, 128, 204),
    "vision": (3, 64, 64),
    "scene": (1, 64, 64),
}


def names(kind: str) -> tuple[str, ...]:
    """The registered towers whose names begin with `kind`, smallest first: a modality's, or `scene`; none where it has none."""
    return tuple(name for name in _ARCHITECTURES if name.startswith(f"{kind}-"))


def input_shape(name: str) -> tuple[int, ...]:
    """The shape, without the batch, of the input that a tower is meant for and that its MACs are counted on."""
    return _SHAPES[name.rpartition("-")[0]]


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
