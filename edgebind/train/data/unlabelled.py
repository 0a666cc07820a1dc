"""Data that nobody has labelled: a teacher's vectors are all that a student needs.

reader       path                          items
recordings   a file, or a folder of them   every window of each recording, as `edgebind run` would cut it
files        a folder                      every file below it: a picture, a sound, a .npy in physical units
folders      a folder                      the files of the first of its `folders`, as pairs have them
table        a .jsonl file                 the file that each line names for the student's modality
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Window
from edgebind.train.data import pairs, samples
from edgebind.train.data.aligned import ALONE, bender
from edgebind.train.data.task import Samples
from edgebind.train.recipe import Data, Node, from_table


@dataclass(frozen=True)
class Item:
    """One window, picture or sound."""

    name: str
    group: str
    """What `folds` may name: a recording, or the folder of a file."""
    unit: str
    """What `parts` never cuts: a recording, or the item itself."""
    load: Callable[[], Any]


class UnlabelledSource:
    """Items drawn by chance, as another sensor would have seen them."""

    def __init__(self, data: Iterable[Data], node: Node, fold: int | None) -> None:
        """Read `data`; `node.window` is what is cut out of recordings.

        Raises
        ------
        OptionError: no such reader, a held-out group that is not there, or nothing left to learn from.
        RecordingError: nothing of that layout is there.
        """
        self._node = node
        self._bend, _ = bender(node)
        self._kept = samples.Kept()
        self._learned: list[Item] = []
        self._held_out: list[Item] = []
        for one in data:
            for item, held in _split(one, read(one, node), fold):
                (self._held_out if held else self._learned).append(item)
        if not self._learned:
            raise OptionError("nothing is left to learn from", wanted="at least one item that is not held out")

    def samples(self, size: int, rng: np.random.Generator) -> Samples:
        """(size,) items, none twice unless there are fewer; an item's number is its kind."""
        at = rng.choice(len(self._learned), size, replace=size > len(self._learned))
        items = [self._learned[index] for index in at]
        return Samples([self._bend(self._load(item), rng, ALONE) for item in items], at, lambda row: items[row].name)

    def held_out_samples(self) -> list[Samples]:
        """Every item that is held out, as it is."""
        items = self._held_out
        if not items:
            return []
        seen = [samples.as_judged(self._load(item), self._node) for item in items]
        return [Samples(seen, np.arange(len(items)), lambda row: items[row].name)]

    def _load(self, item: Item) -> Any:
        return self._kept.load(item, item.load)  # two folders may have items of one name


def read(data: Data, node: Node) -> list[Item]:
    """All items of one folder, in the order of their names.

    Raises
    ------
    OptionError: there is no reader of that name.
    RecordingError: nothing of that layout is there.
    """
    if data.reader not in READERS:
        wanted = f"{' or '.join(READERS)}; or [[prompts]], for data with classes"
        raise OptionError("unknown reader", where=data.path, wanted=wanted, got=repr(data.reader))
    found = READERS[data.reader](data, node)
    if not found:
        raise RecordingError(f"nothing in the layout {data.reader!r}", where=data.path)
    return found


def _split(data: Data, items: list[Item], fold: int | None) -> list[tuple[Item, bool]]:
    """Each item, and whether it is held out."""
    if not data.parts:
        absent = sorted({name for names in data.folds for name in names} - {item.group for item in items})
        if absent:
            raise OptionError("a held-out group is not in the data", where=data.path, got=absent[0])
        return [(item, item.group in data.held_out(fold)) for item in items]
    units = list(dict.fromkeys(item.unit for item in items))
    if len(units) < data.parts:
        raise OptionError("fewer recordings than parts", where=data.path, wanted=data.parts, got=len(units))
    part = {unit: at * data.parts // len(units) for at, unit in enumerate(units)}
    return [(item, part[item.unit] == fold) for item in items]


def _read_recordings(data: Data, node: Node) -> list[Item]:
    from edgebind.calibration.windows import finding

    root = Path(data.path)
    spec: WindowSpec = from_table(WindowSpec, node.window, where="recipe", prefix="window.")
    found: list[Item] = []
    for path in finding.find([root], node.modality):
        group = path.name if path == root else path.relative_to(root).as_posix()
        for window in _windows(path, node.modality, spec):
            found.append(Item(f"{group} at {window.start_ns / NANOSECONDS:.2f} s", group, group, _held(window.samples)))
    return found


def _windows(path: Path, modality: str, spec: WindowSpec) -> Iterator[Window]:
    from edgebind.sources.file import open_recording
    from edgebind.window import make_windower

    windower = make_windower(spec, modality, every_frame=True)
    for chunk in open_recording(path, modality, spec, chunk_seconds=1.0):
        yield from windower.push(chunk)
    yield from windower.finish()


def _held(values: Any) -> Callable[[], Any]:
    return lambda: values


def _read_files(data: Data, node: Node) -> list[Item]:
    root = Path(data.path)
    if not root.is_dir():
        raise RecordingError("no such folder", where=root)
    paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [Item(str(path), _folder(path, root), str(path), partial(samples.load_for, node, path)) for path in paths]


def _folder(path: Path, root: Path) -> str:
    return path.parent.relative_to(root).as_posix()


def _read_pairs(data: Data, node: Node) -> list[Item]:
    """Of each pair the student's end alone."""
    own = replace(data, folders=(data.folders[0],) * 2) if data.folders else data
    return [Item(pair.name, pair.group, pair.name, pair.load[0]) for pair in pairs.read(own, node, node)]


READERS: dict[str, Callable[[Data, Node], list[Item]]] = {
    "recordings": _read_recordings,
    "files": _read_files,
    "folders": _read_pairs,
    "table": _read_pairs,
}
