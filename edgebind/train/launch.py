"""How `edgebind bind` and `edgebind distil` begin: where torch computes, with whom, and what the run folder says about it."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from edgebind import __version__, atomic
from edgebind.errors import OptionError
from edgebind.train import processes
from edgebind.train.recipe import read_toml


@contextlib.contextmanager
def started(out: Path, recipe_file: Path, *, device: str, threads: int | None) -> Iterator[tuple[torch.device, bool]]:
    """Join the other processes and note how the run was started; gives the device, and whether this process speaks.

    Raises
    ------
    OptionError: no such device here.
    StorageError: the run folder cannot be written.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    where = device_of(device)
    with processes.joined(where):
        if processes.rank() == 0:
            note(out, recipe_file)
        yield where, processes.rank() == 0


def device_of(name: str) -> torch.device:
    """The device called `name`; under torchrun `cuda` is each process's own."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError("unknown device", wanted="cpu, cuda or cuda:N", got=repr(name)) from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise OptionError("this torch finds no GPU", got=name, remedy="say --device cpu, or see edgebind doctor")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index)
        torch.cuda.set_device(device)
    return device


def note(out: Path, recipe_file: Path) -> None:
    """Write the recipe as it is, and the command and versions, so that the folder says how to make it again.

    Raises
    ------
    OptionError: another recipe is in progress there.
    StorageError: the folder cannot be written.
    """
    _require_same_recipe(out, recipe_file)
    with atomic.file(out / "recipe.toml") as scratch:
        scratch.write_bytes(recipe_file.read_bytes())
    command = {
        "command": ["edgebind", *sys.argv[1:]],
        "processes": processes.count(),
        "threads": torch.get_num_threads(),
        "edgebind": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    atomic.write_json(out / "started.json", command)


def _require_same_recipe(out: Path, recipe_file: Path) -> None:
    """Else the folder would name one recipe and hold the weights of another."""
    before = out / "recipe.toml"
    if not before.is_file() or not any(out.glob("*.pt")):
        return
    ours, theirs = (read_toml(path, "the recipe") for path in (recipe_file, before))
    if ours != theirs:
        remedy = "remove it or name another out"
        raise OptionError(
            "the run in progress has another recipe", where=out, wanted="that in recipe.toml", remedy=remedy
        )
