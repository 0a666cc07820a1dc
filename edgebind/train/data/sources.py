"""What an edge draws its batches from: labelled data against prompts, or pairs of two sensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgebind.errors import OptionError
from edgebind.train.data.task import Drawn, EdgeSource, HeldOut, Task
from edgebind.train.nodes import NodeTower
from edgebind.train.recipe import Alignment, Edge, read_unseen


class LabelledSource:
    """Labelled items, each beside one of its class's prompts."""

    def __init__(self, task: Task, edge: Edge, anchor: NodeTower) -> None:
        self.task, self.edge = task, edge
        texts = edge.phrasings
        counts = [len(mine) for mine in texts]
        if not counts or min(counts) == 0:
            raise OptionError("every class needs a prompt", wanted="at least one text in each [[edges.prompts]]")
        self.inputs = anchor.prepare([text for mine in texts for text in mine])
        """(texts, ...) the anchor's inputs for all prompts."""
        self.unseen = [anchor.prepare(bank) for bank in read_unseen(edge)]
        """For each bank of words that nothing learns, the anchor's inputs (classes, ...)."""
        self._counts = np.array(counts)
        self._first = np.cumsum(counts) - counts

    def draw(self, first: int, size: int, rng: np.random.Generator) -> Drawn:
        batch = self.task.batch(size, rng)
        words = self.inputs[self.words(batch.labels.numpy(), rng)]
        return Drawn(batch.inputs, words, batch.labels, batch.name)

    def words(self, labels: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """(size,) classes -> (size,) rows of `inputs`, each a random prompt of its class."""
        return torch.from_numpy(self._first[labels] + (rng.random(len(labels)) * self._counts[labels]).astype(np.int64))

    @property
    def canonical(self) -> Tensor:
        """(classes, ...) the anchor's input for the first prompt of each class."""
        return self.inputs[torch.from_numpy(self._first)]

    def held_out(self) -> list[HeldOut]:
        """See `Task.held_out`."""
        return self.task.held_out()


def open_source(edge: Edge | Alignment, nodes: dict[str, NodeTower], fold: int | None, seed: int) -> EdgeSource:
    """Read the data of an edge; `fold` is held out, or nothing when it is None.

    Raises
    ------
    OptionError: a reader does not exist or does not fit, or a class has no data.
    RecordingError: data that cannot be read.
    """
    left, right = (nodes[end] for end in edge.ends)
    if isinstance(edge, Edge) and edge.prompts:
        if right.node.modality != "text":
            raise OptionError("prompts need an anchor of text", wanted="a text node as second end", got=edge.ends[1])
        return LabelledSource(open_task(left, edge, fold), edge, right)
    from edgebind.train.data.pairs import PairSource, ShardSource

    if any(data.reader == "webdataset" for data in edge.data):
        _check_shards(edge)
        return ShardSource(edge.data[0], left, right, seed)
    return PairSource(edge, left, right, fold)


def _check_shards(edge: Edge | Alignment) -> None:
    """Shards are a stream without end: nothing of it can be held out, and nothing else can be mixed in."""
    if len(edge.data) > 1 or isinstance(edge, Alignment):
        raise OptionError("shards stand alone on an edge", got=", ".join(data.path for data in edge.data))
    if edge.data[0].folds or edge.data[0].parts:
        raise OptionError(
            "nothing can be held out of shards",
            where=edge.data[0].path,
            wanted="no folds and no parts",
            remedy="keep what is to be held out in shards of its own, and name it under [[alignments]] as a table",
        )


def open_task(tower: NodeTower, edge: Edge, fold: int | None) -> Task:
    """The labelled data of an edge's first end.

    Raises
    ------
    OptionError: no such reader for this modality, or a class without data.
    RecordingError: data that cannot be read.
    """
    readers = {data.reader for data in edge.data}
    if "classes" in readers:
        from edgebind.train.data.classes import ClassesTask

        return ClassesTask(tower, edge, fold)
    if tower.node.modality == "imu":
        from edgebind.train.data.imu import ImuTask

        return ImuTask(tower.node, edge, fold)
    if tower.node.modality == "thermal":
        from edgebind.train.data.thermal import ThermalTask

        return ThermalTask(tower.node, edge, fold)
    raise OptionError("no such reader for this modality", wanted="classes", got=", ".join(sorted(readers)))
