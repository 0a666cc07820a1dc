"""Retrieval by words: captions on the left, what they describe on the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgebind.evaluate.dataset import Clip, Pairing, Published, Sample, stamp_of
from edgebind.evaluate.datasets import layout
from edgebind.preprocess.videos import Video
from edgebind.train.data.samples import load


@dataclass(frozen=True, slots=True)
class Described:
    """A file and the sentences about it."""

    path: Path
    captions: tuple[str, ...]


def loader(path: Path, modality: str) -> Callable[[], Sample]:
    """What a file says to one sensor: to the eye it is a video."""
    return partial(Video, path) if modality == "vision" else partial(load, path, modality)


def pairing(
    name: str, modality: str, root: Path, items: Sequence[Described], published: tuple[Published, ...]
) -> Pairing:
    """Every caption is a query of its own; the file it describes is the one right answer."""
    right = [layout.clip(root, item.path, loader(item.path, modality)) for item in items]
    left: list[Clip] = []
    pairs: list[tuple[int, int]] = []
    for at, item in enumerate(items):
        for number, caption in enumerate(item.captions, start=1):
            pairs.append((len(left), at))
            left.append(Clip(f"{right[at].name}#caption{number}", partial(str, caption), stamp_of(caption.encode())))
    return Pairing(name, "text", left, modality, right, tuple(pairs), published)
