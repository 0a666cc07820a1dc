"""A world that three cameras see: a few blobs at places of their own, bright to one, near to another, coloured to a third.

What one of them shows determines the others, so that a tower which learned the place from one can be asked about it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn

SIDE = 32
BLOBS = 2


def scene(rng: np.random.Generator) -> np.ndarray:
    """(side, side) in [0, 1]."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    found = np.zeros((SIDE, SIDE))
    for _ in range(BLOBS):
        y, x = rng.uniform(4, SIDE - 4, 2)
        found = np.maximum(found, np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18))
    return found


def write(folder: Path, count: int, seed: int = 0) -> Path:
    """Write `count` scenes below `folder` as ir/, vi/ and de/, and a table of all three; returns the table."""
    rng, lines = np.random.default_rng(seed), []
    for name in ("ir", "vi", "de"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for at in range(count):
        shape = scene(rng)
        grain = rng.normal(0, 0.02, (5, SIDE, SIDE))
        thermal = np.clip(0.2 + 0.6 * shape + grain[0], 0, 1) * 255
        colour = np.stack([0.7 - 0.5 * shape + grain[1], 0.3 + 0.4 * shape + grain[2], 0.5 + grain[3]], axis=2)
        Image.fromarray(thermal.astype(np.uint8)).save(folder / "ir" / f"{at:04}.png")
        Image.fromarray((np.clip(colour, 0, 1) * 255).astype(np.uint8)).save(folder / "vi" / f"{at:04}.png")
        np.save(folder / "de" / f"{at:04}.npy", (5 - 3 * shape + 0.05 * grain[4]).astype(np.float32))
        row = {"thermal": f"ir/{at:04}.png", "vision": f"vi/{at:04}.png", "depth": f"de/{at:04}.npy"}
        lines.append(json.dumps({**row, "text": f"scene {at}", "group": f"g{at % 4}"}))
    table = folder / "table.jsonl"
    table.write_text("\n".join(lines) + "\n")
    return table


Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def enliven(network: Network) -> Network:
    """Larger random weights: those that a network begins with let hardly anything of its input through."""
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    return network
