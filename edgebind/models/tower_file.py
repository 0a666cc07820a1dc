"""A trained tower as one `.safetensors` file: weights, and in its header all that a bundle's manifest will need."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from edgebind import atomic
from edgebind.errors import CheckpointError, OptionError
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.models import students, tensor_file

HEADER = "edgebind"
"""Key of the header entry that marks a file as one of ours."""
BANK = "labels.embeddings"


@dataclass(frozen=True)
class TowerInfo:
    """What a tower is, apart from its weights."""

    space: str
    modality: str
    student: str
    dim: int
    logit_scale: float
    window: WindowSpec
    preprocess: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)


def write(path: Path, tower: nn.Module, info: TowerInfo, bank: LabelBank) -> None:
    """Write a tower with its label bank, whole or not at all."""
    tensors = {f"tower.{name}": value.contiguous() for name, value in tower.state_dict().items()}
    tensors[BANK] = torch.from_numpy(np.ascontiguousarray(bank.embeddings))
    own = {"prompts": bank.prompts, "labels_logit_scale": bank.logit_scale}
    header = json.dumps({**asdict(info), **own}, ensure_ascii=False)
    with atomic.file(path) as scratch:
        tensor_file.write(tensors, scratch, {HEADER: header})


def is_tower_file(path: Path) -> bool:
    """Whether `path` was written by `write`: told by its header, without reading weights."""
    try:
        with safe_open(path, framework="numpy") as archive:
            return HEADER in (archive.metadata() or {})
    except (OSError, SafetensorError):
        return False


def read(path: Path) -> tuple[nn.Module, TowerInfo, LabelBank]:
    """The tower in eval mode, what it is, and its label bank.

    Raises
    ------
    CheckpointError: missing, truncated, not one of ours, or with weights of another shape.
    """
    try:
        with safe_open(path, framework="pt") as archive:
            header = json.loads((archive.metadata() or {})[HEADER])
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118  (not a mapping)
        prompts, scale = tuple(header.pop("prompts")), float(header.pop("labels_logit_scale", 1.0))
        info = TowerInfo(**{**header, "window": _window(header["window"])})
        bank = LabelBank(prompts, tensors.pop(BANK).numpy(), info.space, scale)
    except FileNotFoundError:
        raise CheckpointError("no such checkpoint", where=path) from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, OptionError) as error:
        raise CheckpointError("not a tower made by edgebind bind", where=path, got=error) from error
    tower = students.build(info.student, dim=info.dim)
    try:
        tower.load_state_dict({name.removeprefix("tower."): value for name, value in tensors.items()})
    except RuntimeError as error:
        raise CheckpointError(f"weights do not fit the architecture {info.student!r}", where=path, got=error) from error
    return tower.eval(), info, bank


def _window(table: dict[str, Any]) -> WindowSpec:
    return WindowSpec(**{**table, "channels": tuple(table["channels"]), "units": tuple(table["units"])})
