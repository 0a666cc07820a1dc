"""Pairs of two sensors that saw the same thing.

    reader       path                                       pairs
    folders      a folder with one folder for each sensor   files of the same name below the two `folders`
    table        a .jsonl file                              {"vision": "a.jpg", "imu": "a.npy", "group": "walk 3"} a line
    webdataset   a folder of .tar shards                    00017.vision.jpg, 00017.thermal.png of the same key

Pictures are read as everywhere in edgebind; `.npy` holds samples in physical units, (6, length) for an IMU; sounds are what
their preprocessor takes; in a table `text` is the text itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess.videos import Video
from edgebind.train.data import samples
from edgebind.train.data.aligned import Together, bender, lasts
from edgebind.train.data.geometry import draw_geometry, require_alike
from edgebind.train.data.shards import Record, Shards, number_of
from edgebind.train.data.task import Drawn
from edgebind.train.nodes import NodeTower
from edgebind.train.recipe import Alignment, Data, Edge, Node


@dataclass(frozen=True)
class Pair:
    """One thing as two sensors saw it."""

    name: str
    group: str
    """Held out together: a run, a place. Empty: each pair by itself."""
    load: tuple[Callable[[], Any], Callable[[], Any]]
    """Samples of the first end and of the second, in physical units."""


class _Ends:
    """Pairs of samples -> inputs of both towers, augmented or as they are."""

    def __init__(self, left: NodeTower, right: NodeTower) -> None:
        self.towers = (left, right)
        self._bends, (first, second) = zip(*(bender(tower.node) for tower in self.towers), strict=True)
        self._shape = first if second is not None else None
        """Where both look, if both are cameras."""
        if first is not None and second is not None:
            require_alike(first, second)

    def bent(self, pair: tuple[Any, Any], rng: np.random.Generator) -> tuple[Any, Any]:
        """Both as other sensors would have seen them; two cameras keep looking at the same part."""
        pair = self._at_one_moment(pair, rng)
        where = None if self._shape is None else draw_geometry(self._shape, rng)
        last = [lasts(sample, tower.node) for sample, tower in zip(pair, self.towers, strict=True)]
        left, right = self._bends
        return left(pair[0], rng, Together(where, last[1])), right(pair[1], rng, Together(where, last[0]))

    def as_judged(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        """Both as they are."""
        one, other = (samples.as_judged(sample, tower.node) for sample, tower in zip(pair, self.towers, strict=True))
        return one, other

    def _at_one_moment(self, pair: tuple[Any, Any], rng: np.random.Generator) -> tuple[Any, Any]:
        """A random clip of a video; of the sound beside it the same seconds, without which binding suffers."""
        for at, sample in enumerate(pair):
            if isinstance(sample, Video):
                return self._cut(pair, at, rng)
        return pair

    def _cut(self, pair: tuple[Any, Any], at: int, rng: np.random.Generator) -> tuple[Any, Any]:
        other, how = pair[1 - at], self.towers[at].node.video
        is_sound = self.towers[1 - at].node.modality == "audio" and isinstance(other, np.ndarray)
        rate = samples.rate_of(self.towers[1 - at].node)
        video = pair[at].anywhere(how, rng, other.shape[1] / rate if is_sound else math.inf)
        if is_sound:
            other = other[:, round(video.start * rate) : round(video.stop * rate)]
        return (video, other) if at == 0 else (other, video)

    def drawn(self, pairs: list[tuple[Any, Any]], kinds: list[int], names: list[str]) -> Drawn:
        """Inputs of both ends."""
        import torch

        for at, tower in enumerate(self.towers):
            if tower.node.tower != "cached":
                for pair, name in zip(pairs, names, strict=True):
                    samples.require_window(pair[at], tower.node, name)

        left, right = (
            tower.prepare([pair[at] for pair in pairs] if tower.node.tower != "cached" else names)
            for at, tower in enumerate(self.towers)
        )
        return Drawn(left, right, torch.tensor(kinds), lambda row: names[row])


class PairSource:
    """Pairs of a folder or a table, drawn by chance."""

    def __init__(self, edge: Edge | Alignment, left: NodeTower, right: NodeTower, fold: int | None) -> None:
        self._ends = _Ends(left, right)
        self._learned: list[Pair] = []
        self._held_out: list[Pair] = []
        for data in edge.data:
            for pair, held in _split(data, read(data, left.node, right.node), fold):
                (self._held_out if held else self._learned).append(pair)
        self._kept = samples.Kept()
        if not self._learned and fold is not None:
            raise OptionError("no pair is left to learn from", wanted="at least one that is not held out")

    def draw(self, first: int, size: int, rng: np.random.Generator) -> Drawn:
        """(size,) pairs, none twice unless there are fewer; a pair's number is its kind."""
        pairs = self._learned
        at = rng.choice(len(pairs), size, replace=size > len(pairs)).tolist()
        bent = [self._ends.bent(self._load(pairs[index]), rng) for index in at]
        return self._ends.drawn(bent, at, [pairs[index].name for index in at])

    def held_out(self) -> Drawn | None:
        """Every pair that is held out, as it is."""
        return self._plain(self._held_out)

    def everything(self) -> Drawn | None:
        """Every pair, as it is."""
        return self._plain([*self._learned, *self._held_out])

    def _plain(self, pairs: list[Pair]) -> Drawn | None:
        if not pairs:
            return None
        seen = [self._ends.as_judged(self._load(pair)) for pair in pairs]
        return self._ends.drawn(seen, list(range(len(pairs))), [pair.name for pair in pairs])

    def _load(self, pair: Pair) -> tuple[Any, Any]:
        one, other = (
            # Two folders may have pairs of one name: the pair itself is the key.
            self._kept.load((pair, at), pair.load[at]) if tower.node.tower != "cached" else None
            for at, tower in enumerate(self._ends.towers)
        )
        return one, other


class ShardSource:
    """Pairs of shards, in the shards' own order: far more than memory holds."""

    def __init__(self, data: Data, left: NodeTower, right: NodeTower, seed: int) -> None:
        self._ends = _Ends(left, right)
        paths = sorted(Path(data.path).glob("*.tar"))
        if not paths:
            raise RecordingError("there are no shards", where=data.path, wanted="files that end in .tar")
        self._shards = Shards(paths, seed=seed)
        self._nodes = (left.node, right.node)

    def draw(self, first: int, size: int, rng: np.random.Generator) -> Drawn:
        """Records `first` to `first + size` of the run."""
        records = self._shards.take(first, size)
        loaded = [(_decode(record, self._nodes[0]), _decode(record, self._nodes[1])) for record in records]
        names = [str(record["__key__"]) for record in records]
        kinds = [number_of(record) for record in records]
        return self._ends.drawn([self._ends.bent(pair, rng) for pair in loaded], kinds, names)


def read(data: Data, left: Node, right: Node) -> list[Pair]:
    """All pairs of one folder or table, in the order of their names.

    Raises
    ------
    OptionError: there is no reader of that name.
    RecordingError: nothing of that layout is there.
    """
    if data.reader not in READERS:
        raise OptionError("unknown reader", where=data.path, wanted=" or ".join(READERS), got=repr(data.reader))
    found = READERS[data.reader](data, left, right)
    if not found:
        raise RecordingError(f"no pairs in the layout {data.reader!r}", where=data.path)
    return sorted(found, key=lambda pair: pair.name)


def _split(data: Data, pairs: list[Pair], fold: int | None) -> list[tuple[Pair, bool]]:
    """Each pair, and whether it is held out."""
    if data.parts and not data.folds:
        if len(pairs) < data.parts:
            raise OptionError("fewer pairs than parts", where=data.path, wanted=data.parts, got=len(pairs))
        part = [at * data.parts // len(pairs) for at in range(len(pairs))]
        return [(pair, number == fold) for pair, number in zip(pairs, part, strict=True)]
    absent = sorted({name for fold_ in data.folds for name in fold_} - {pair.group for pair in pairs})
    if absent:
        raise OptionError("a held-out group is not in the data", where=data.path, got=absent[0])
    return [(pair, pair.group in data.held_out(fold)) for pair in pairs]


def _read_folders(data: Data, left: Node, right: Node) -> list[Pair]:
    if len(data.folders) != 2:
        raise OptionError("two folders are wanted", where=data.path, wanted='folders = ["ir", "vi"]', got=data.folders)
    ones, others = (_by_stem(Path(data.path) / name) for name in data.folders)
    return [
        Pair(stem, str(Path(stem).parent), (_loader(ones[stem], left), _loader(others[stem], right)))
        for stem in sorted(ones.keys() & others.keys())
    ]


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise RecordingError("no such folder", where=folder)
    return {str(p.relative_to(folder).with_suffix("")): p for p in sorted(folder.rglob("*")) if p.is_file()}


def _read_table(data: Data, left: Node, right: Node) -> list[Pair]:
    path, found = Path(data.path), []
    ends = (left.modality, right.modality)
    for number, read in rows(path):
        row = _require_ends(read, f"{path}, line {number}", *ends)
        loads = tuple(_loader_of(row[node.modality], path.parent, node) for node in (left, right))
        found.append(Pair(f"{number:06} {row[ends[0]]}", str(row.get("group", "")), (loads[0], loads[1])))
    return found


def rows(table: Path) -> Iterator[tuple[int, Any]]:
    """Number from 1 and value of each line of a `.jsonl` that is not empty.

    Raises
    ------
    RecordingError: it cannot be read, or a line is no JSON.
    """
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=table) from error
    except UnicodeDecodeError as error:
        raise RecordingError("is no text in UTF-8", where=table, got=error) from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise RecordingError("is no JSON", where=f"{table}, line {number}", got=error) from error


def _require_ends(row: Any, where: str, left: str, right: str) -> dict[str, Any]:
    absent = [end for end in (left, right) if not isinstance(row, dict) or not isinstance(row.get(end), str)]
    if absent:
        raise RecordingError(f"no {absent[0]!r} in a row", where=where, wanted=f"{left} and {right}, as text")
    return dict(row)


def _loader_of(value: str, folder: Path, node: Node) -> Callable[[], Any]:
    return (lambda: value) if node.modality == "text" else _loader(folder / value, node)


def _loader(path: Path, node: Node) -> Callable[[], Any]:
    return lambda: samples.load_for(node, path)


def _decode(record: Record, node: Node) -> Any:
    """A record's sample of one modality: the bytes behind `<modality>.<format>`."""
    name, modality = str(record["__key__"]), node.modality
    keys = [key for key in record if key.split(".")[0] == modality]
    if len(keys) != 1:
        got = ", ".join(key for key in record if not key.startswith("__"))
        raise RecordingError(f"no {modality!r} in a record", where=name, wanted=f"one {modality}.FORMAT", got=got)
    return samples.decode(record[keys[0]], name, keys[0].partition(".")[2].lower(), node)


READERS: dict[str, Callable[[Data, Node, Node], list[Pair]]] = {"folders": _read_folders, "table": _read_table}
"""Layouts that are listed as a whole; `webdataset` is read as a stream."""
