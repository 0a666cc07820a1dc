"""One process or many: what the processes of `torchrun` tell each other. With one process nothing is sent.

Chunks of a batch are dealt out in order: process 0 has the first ones. Vectors are gathered in the same order, so that every
process sees the batch that one process alone would see.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, distributed

from edgebind.errors import OptionError


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Meet the other processes that `torchrun` started; alone where it started none.

    Raises
    ------
    OptionError: this torch cannot talk to other processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if not distributed.is_available():
        raise OptionError("this torch was built without distributed training", remedy="run it in one process")
    # Its functions keep the group of the moment of their import as a default; were that after the group is made (the optimisers
    # import it), destroying the group would leave its threads to run into the end of the interpreter, which aborts the process.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process; 0 is the one that writes."""
    return distributed.get_rank() if _many() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if _many() else 1


def gather(rows: Tensor) -> Tensor:
    """(n, ...) of each process -> (processes x n, ...), in order; no gradient flows through it."""
    if not _many():
        return rows
    parts = [torch.empty_like(rows) for _ in range(count())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over the processes, in one message."""
    listed = list(tensors)
    if not _many() or not listed:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in listed])
    distributed.all_reduce(flat)
    begin = 0
    for tensor in listed:
        tensor.copy_(flat[begin : begin + tensor.numel()].view_as(tensor))
        begin += tensor.numel()


def of_first(text: str, device: torch.device) -> str:
    """What process 0 says, where each says something of the same length."""
    letters = torch.tensor(list(text.encode()), device=device)
    return bytes(gather(letters)[: len(letters)].tolist()).decode()


def require_agreement(where: str, device: torch.device) -> None:
    """Come back when every process stands at `where`.

    Raises
    ------
    OptionError: they do not, because they see other files: each would train on alone, or wait for ever.
    """
    number = int.from_bytes(hashlib.blake2b(where.encode(), digest_size=7).digest(), "big")
    if len(set(gather(torch.tensor([number], device=device)).tolist())) > 1:
        raise OptionError(
            "the processes do not go on at one place",
            wanted="a run folder that all of them see",
            got=f"process {rank()} at {where}",
            remedy="put out, and cache.path, on a disk that all machines share",
        )


def wait() -> None:
    """Come back when every process has come here."""
    if _many():
        distributed.barrier()


def _many() -> bool:
    return distributed.is_available() and distributed.is_initialized()
