"""Named tensors in a file, read without ever running what is in it, and written.

A file may be a zip or legacy `torch.save` of tensors, or safetensors; which one is seen from its first bytes, not from
its name. A pickle that asks for anything but tensors is refused before anything of it is carried out. Tensors are mapped
into memory, not read, so the file must stay as it is while they are in use.
"""

from __future__ import annotations

import pickle
import re
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgebind.errors import CheckpointError

_NESTED_UNDER = ("state_dict", "model", "model_state_dict")


def read(file: Path) -> Mapping[Any, Any]:
    """The state dict in `file`; what its values are is for the caller to check.

    Raises
    ------
    CheckpointError: no such file, not a checkpoint, damaged, or a pickle that wants to run code.
    """
    start = _first_bytes(file)
    if start.startswith(b"PK\x03\x04"):
        return _state_dict(_unpickled(file, mmap=True), file)
    if start[8:9] == b"{":  # behind eight bytes of length, the header in JSON
        return _safetensors(file)
    # Older releases of torch unpickled tar archives without their restrictions (CVE-2025-32434).
    if start.startswith(b"\x80") and not tarfile.is_tarfile(file):
        return _state_dict(_unpickled(file, mmap=False), file)
    raise _not_a_checkpoint(file, got=f"a file that begins with {start[:12]!r}" if start else "an empty file")


def write(tensors: Mapping[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
    """Write a `.safetensors` file; trouble with the disk is an OSError, as everywhere else."""
    try:
        save_file(dict(tensors), file, metadata=metadata)
    except SafetensorError as error:
        # Its own class hides the system's error number, by which a full disk is recognised.
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error), str(file)) from error


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(16)
    except OSError as error:
        raise CheckpointError(
            "cannot be read",
            where=file,
            wanted="a file",
            got=error.strerror,
            remedy="give imagebind_huge.pth, which its authors publish, or a file that edgebind saved",
        ) from error


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as archive:
            return {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from error


def _unpickled(file: Path, mmap: bool) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of the very files that are refused below
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise _unsafe(file, error) from error
    except Exception as error:  # a damaged pickle fails in any way there is
        raise _damaged(file, error) from error


def _state_dict(content: object, file: Path) -> Mapping[Any, Any]:
    """`content` itself, or the state dict that a training loop wrapped in it."""
    for _ in range(4):  # a pickle can hold a mapping that holds itself
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _NESTED_UNDER if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return content
        content = inner
    raise _not_a_checkpoint(file, got=f"a {type(content).__name__}")


def _unsafe(file: Path, error: Exception) -> CheckpointError:
    if "Weights only load failed" not in str(error):
        return _damaged(file, error)
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    return CheckpointError(
        "this pickle holds more than tensors, may want to run code and was refused; nothing of it was run",
        where=file,
        wanted="tensors only",
        got=asked[1] if asked else "an ordinary pickle",
        remedy="get the file from its publisher, or have its author save the state dict alone, best as .safetensors",
    )


def _damaged(file: Path, error: Exception) -> CheckpointError:
    reason = str(error).partition("\n")[0].partition(". ")[0][:120]
    return CheckpointError(
        "truncated, damaged or no checkpoint",
        where=file,
        wanted="torch.save of a state dict, or safetensors",
        got=reason or type(error).__name__,
        remedy="get it again and compare its size or hash",
    )


def _not_a_checkpoint(file: Path, got: str) -> CheckpointError:
    return CheckpointError(
        "not a checkpoint",
        where=file,
        wanted="torch.save of a state dict, or safetensors",
        got=got,
        remedy="give imagebind_huge.pth, or a file that edgebind saved",
    )
