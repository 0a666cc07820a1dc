"""ImageBind's towers, read from the user's file and written to a new one.

    imagebind_huge.pth (4.8 GB)  --load_towers(path, ["imu"])-->  {"imu": Tower}  --save_towers-->  imu.safetensors (78 MB)

What a file may be, and that nothing in it is ever run, is `edgebind.models.tensor_file`'s. Weights are mapped into memory,
not read: a tower costs what it touches, and the file must stay as it is while its towers are in use.

ImageBind's published weights are licensed CC-BY-NC 4.0, see `LICENCE_NOTE`. Nothing here downloads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from edgebind import atomic
from edgebind import modality as modality_table
from edgebind.errors import CheckpointError, OptionError
from edgebind.models import tensor_file
from edgebind.models.imagebind import ARCHITECTURES, Tower, build_tower, causal_mask, reference_key

LICENCE_NOTE = (
    "ImageBind's published weights are licensed CC-BY-NC 4.0 by Meta: not for commercial use, "
    "and nothing trained from them should be taken for free of it."
)
"""Shown wherever a user meets these weights, and carried by every file that `save_towers` writes from them."""

Weights = dict[str, Tensor]
"""A tower's own key ("trunk.blocks.0.norm_1.bias") -> tensor."""

_KEY = re.compile(r"modality_(preprocessor|trunk|head|postprocessor)s\.([^.]+)\.(.+)")
_PREFIXES = ("module.", "model.", "_orig_mod.")
"""What DistributedDataParallel, Lightning and torch.compile put in front of a key."""
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_MASK = "preprocessor.mask"


def load_towers(path: str | PathLike[str], modalities: Iterable[str] | None = None) -> dict[str, Tower]:
    """The towers in the checkpoint `path`: frozen, in eval mode, float32, on the CPU.

    `modalities` names the towers wanted, None all that the file has. float16, bfloat16 and float64 are cast. The state
    dict may be nested under "state_dict" or "model", its keys may begin with "module."; keys outside the towers are not
    looked at.

    Raises
    ------
    CheckpointError: no such file, not a checkpoint, damaged, unsafe, or the weights do not fit; also a tower that is
        there in part, unless the other towers were asked for by name.
    OptionError: `modalities` is empty or names an unknown one.
    """
    file = Path(path)
    wanted = None if modalities is None else _checked_names(modalities)
    found = _read_towers(file)
    names = list(found) if wanted is None else wanted
    for name in names:
        if name not in found:
            raise CheckpointError(
                f"there is no {name} tower in it",
                where=file,
                wanted=name,
                got=", ".join(found),
                remedy="ask for one of these",
            )
    return {name: _build(name, found[name], file) for name in names}


def available(path: str | PathLike[str]) -> list[str]:
    """The modalities whose tower is complete in the checkpoint `path`; the values of the weights are not read.

    Raises
    ------
    CheckpointError: no such file, not a checkpoint, damaged or unsafe.
    """
    return [name for name, weights in _read_towers(Path(path)).items() if _is_complete(name, weights)]


def present(path: str | PathLike[str]) -> list[str]:
    """The modalities of which the checkpoint `path` holds anything, complete or not.

    Raises
    ------
    CheckpointError: no such file, not a checkpoint, damaged or unsafe, or no tower in it.
    """
    return list(_read_towers(Path(path)))


def save_towers(path: str | PathLike[str], towers: Mapping[str, Tower], *, licence: str | None = LICENCE_NOTE) -> None:
    """Write `towers` to the safetensors file `path`, under the keys of the reference, all of it or nothing.

    `licence` goes into the file's metadata; None for weights that have nothing to do with ImageBind's.

    Raises
    ------
    OptionError: no tower, or a path that does not end in .safetensors.
    StorageError: the disk is full or cannot be written.
    """
    file = Path(path)
    if file.suffix != ".safetensors":
        raise OptionError(
            "towers are written as safetensors", where=file, wanted="a name ending in .safetensors", got=file.name
        )
    if not towers:
        raise OptionError("no tower to write", where=file, wanted="at least one", got="none")
    tensors = {
        reference_key(name, key): value.detach().cpu().contiguous()
        for name, tower in towers.items()
        for key, value in tower.state_dict().items()
    }
    with atomic.file(file) as scratch:
        tensor_file.write(tensors, scratch, {"format": "pt"} | ({"licence": licence} if licence else {}))


def _checked_names(names: Iterable[str]) -> list[str]:
    checked = [modality_table.get(name).name for name in names]
    if not checked:
        raise OptionError("no modality asked for", wanted="at least one of " + ", ".join(ARCHITECTURES), got="none")
    return checked


# ------------------------------------------------------------------------------------------------ one tower's weights


def _build(name: str, weights: Weights, file: Path) -> Tower:
    """A tower whose parameters are the tensors of the file: on "meta" first, so nothing is held twice."""
    tower = build_tower(name, device="meta")
    shapes = tower.state_dict()
    if name == "text":
        weights = {_MASK: causal_mask(shapes[_MASK].shape[0]), **weights}  # a buffer, which some files leave out
    _check_keys(name, shapes, weights, file)
    checked = {key: _checked(weights[key], like, f"{file}: {reference_key(name, key)}") for key, like in shapes.items()}
    tower.load_state_dict(checked, assign=True)
    return tower.eval().requires_grad_(False)


def _is_complete(name: str, weights: Weights) -> bool:
    shapes = {key: like.shape for key, like in build_tower(name, device="meta").state_dict().items()}
    if name == "text" and _MASK not in weights:
        del shapes[_MASK]
    return shapes == {key: value.shape for key, value in weights.items()}


def _check_keys(name: str, wanted: Mapping[str, Tensor], got: Mapping[str, Tensor], file: Path) -> None:
    missing = [reference_key(name, key) for key in wanted if key not in got]
    unexpected = [reference_key(name, key) for key in got if key not in wanted]
    if missing:
        raise CheckpointError(
            f"the {name} tower is incomplete",
            where=file,
            wanted=f"{len(wanted)} keys",
            got=f"{len(wanted) - len(missing)}, without {_some(missing)}",
            remedy="get the file again, or ask by name for the other towers only",
        )
    if unexpected:
        raise CheckpointError(
            f"the {name} tower has keys that ImageBind-huge's has not",
            where=file,
            wanted=f"{len(wanted)} keys",
            got=f"also {_some(unexpected)}",
            remedy="merge adapters into the weights before saving, or use the published imagebind_huge.pth",
        )


def _checked(value: Tensor, like: Tensor, where: str) -> Tensor:
    """`value` as float32, if it is a tensor of numbers with the shape of `like`."""
    if value.shape != like.shape:
        raise CheckpointError(
            "weights of another shape",
            where=where,
            wanted=tuple(like.shape),
            got=tuple(value.shape),
            remedy="only ImageBind-huge's towers fit",
        )
    if value.dtype not in _DTYPES or value.layout != torch.strided or value.is_meta:
        raise CheckpointError(
            "weights that are no plain floating-point numbers",
            where=where,
            wanted="float32, float16, bfloat16 or float64",
            got=f"{value.dtype}, {value.layout}, on {value.device}".replace("torch.", ""),
            remedy="save the model unquantised",
        )
    weights = value.detach().float().contiguous()
    _check_values(weights, where)
    return weights


def _check_values(weights: Tensor, where: str) -> None:
    if where.endswith("text.mask"):
        if not torch.equal(weights, causal_mask(len(weights))):
            raise CheckpointError(
                "text's mask is not causal", where=where, wanted="-inf above the diagonal, else 0", got="other values"
            )
    elif not (finite := torch.isfinite(weights)).all():
        raise CheckpointError(
            "weights that are not finite",
            where=where,
            wanted="finite float32 values",
            got=f"NaN or Inf in {int((~finite).sum())} of {weights.numel()}",
            remedy="the training diverged or the file is damaged: take an earlier one or get it again",
        )


def _some(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"


# --------------------------------------------------------------------------------------------------- the file's towers


def _read_towers(file: Path) -> dict[str, Weights]:
    """Modality -> its tower's tensors, in the order of `ARCHITECTURES`; at least one."""
    towers: dict[str, Weights] = {name: {} for name in ARCHITECTURES}
    tensors = tensor_file.read(file)
    for key, value in tensors.items():
        match = _KEY.fullmatch(_without_prefixes(str(key)))
        if match is None or match[2] not in towers:
            continue
        _put(towers[match[2]], f"{match[1]}.{match[3]}", value, where=f"{file}: {key}")
    found = {name: weights for name, weights in towers.items() if weights}
    if not found:
        raise CheckpointError(
            "no ImageBind tower in it",
            where=file,
            wanted="keys such as modality_trunks.imu.blocks.0.norm_1.weight",
            got=f"{len(tensors)} keys" + (f", the first {next(iter(tensors))!r}" if tensors else ""),
            remedy="give imagebind_huge.pth, or a file that edgebind saved",
        )
    return found


def _put(weights: Weights, key: str, value: object, where: str) -> None:
    if key in weights:
        raise CheckpointError(
            "the same weights twice, with and without a prefix", where=where, remedy="save one state dict only"
        )
    if not isinstance(value, Tensor):
        raise CheckpointError(
            "not a tensor", where=where, wanted="a tensor", got=type(value).__name__, remedy="save a state dict"
        )
    weights[key] = value


def _without_prefixes(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.split(".", 1)[1]
    return key
