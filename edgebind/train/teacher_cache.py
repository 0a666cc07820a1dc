"""The teacher's vectors, computed once and kept in shards beside the seed of what they are vectors of.

    cache.json          whose vectors, of what, drawn how: another teacher, recipe or data is refused
    vectors-00000.tar   WebDataset's layout: 00000017.npy, (items, dim) float16, and 00000017.json, {"seed": [0, 17], "items": 32}

Record k holds the items that chance draws from (seed, k). A student that reads it draws the same items again, for itself, and
the teacher is never asked twice: dataset reinforcement (Faghri et al. 2023), as MobileCLIP uses it.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import __version__, atomic
from edgebind.errors import OptionError, RecordingError
from edgebind.signals import Floats
from edgebind.train import processes
from edgebind.train.data.shards import Record, Shards, library
from edgebind.train.data.task import Samples
from edgebind.train.distil_recipe import Cache

FORMAT = "edgebind-teacher-cache/1"
FILE = "cache.json"
TOGETHER = 256
"""Items that pass through the teacher at once."""
STALE_S = 3600.0
"""Half a shard that nobody has written to for so long was left by a process that was killed; a younger one may be another run's."""
BUFFER = 512
"""Records that are mixed when a student reads them."""

Draw = Callable[[int, np.random.Generator], Samples]
"""Number of items, chance -> items in physical units."""
Embed = Callable[[Sequence[Any]], Floats]
"""Items -> (items, dim) unit rows."""


@dataclass(frozen=True)
class Remembered:
    """One record: items that can be drawn again, and what the teacher said of them."""

    seed: tuple[int, ...]
    vectors: Floats
    """(items, dim), as float32."""

    def draw(self, draw: Draw) -> Samples:
        """The items themselves."""
        return draw(len(self.vectors), np.random.default_rng(list(self.seed)))


@dataclass(frozen=True)
class CacheReader:
    """Records in an order that the seed and the epoch decide."""

    shards: Shards
    record: int
    """Items in each."""

    def take(self, first: int, count: int) -> list[Remembered]:
        """Records `first` to `first + count`, counted through all epochs."""
        return [_decode(record) for record in self.shards.take(first, count)]


class TeacherCache:
    """The shards of one teacher on one stage's data."""

    def __init__(self, folder: Path, how: Cache, *, seed: int, identity: Mapping[str, Any]) -> None:
        """A cache in `folder`, begun or not.

        Parameters
        ----------
        identity: what decides the vectors beside `how` and `seed`, see `edgebind.train.identity`.

        Raises
        ------
        OptionError: the folder holds the vectors of another teacher, recipe or data.
        """
        self.folder, self.how, self._seed = folder, how, seed
        self._identity = {
            "format": FORMAT,
            "edgebind": __version__,
            **identity,
            "seed": seed,
            "records": how.records,
            "items a record": how.record,
            "records a shard": how.shard,
        }
        self._check()

    @property
    def paths(self) -> list[Path]:
        """All shards, whether they are there yet or not."""
        return [self.folder / f"vectors-{at:05}.tar" for at in range(-(-self.how.records // self.how.shard))]

    def fill(
        self, draw: Draw, embed: Embed, progress: Callable[[int, int, float], None] = lambda done, of, rate: None
    ) -> None:
        """Ask the teacher for every shard that is not there; each process does its share.

        Parameters
        ----------
        progress: called with the records done, how many there are, and embeddings a second.

        Raises
        ------
        RecordingError: an item that cannot be read, or vectors that are no numbers.
        StorageError: the folder cannot be written.
        """
        if processes.rank() == 0:
            self._begin()
        processes.wait()
        began, asked = time.monotonic(), 0

        def note(done: int) -> None:
            nonlocal asked
            asked += self.how.record
            progress(done, self.how.records, asked / max(time.monotonic() - began, 1e-9))

        for number, path in enumerate(self.paths):
            if number % processes.count() == processes.rank() and not path.is_file():
                self._write(number, path, draw, embed, note)
        processes.wait()

    def open(self) -> CacheReader:
        """All records, to be read again and again."""
        shards = Shards(self.paths, seed=self._seed, buffer=min(BUFFER, self.how.records))
        return CacheReader(shards, self.how.record)

    def _check(self) -> None:
        path = self.folder / FILE
        if not path.is_file():
            if any(shard.is_file() for shard in self.paths):
                raise OptionError("vectors that nobody knows the teacher of", where=self.folder, remedy=REMEDY)
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OptionError("the cache cannot be read", where=path, remedy=REMEDY) from error
        for key, wanted in json.loads(json.dumps(self._identity)).items():
            if found.get(key) != wanted:
                raise OptionError(f"the cache was made with another {key}", where=path, remedy=REMEDY)

    def _begin(self) -> None:
        for left_over in self.folder.glob(".vectors-*"):
            if time.time() - left_over.stat().st_mtime > STALE_S:
                left_over.unlink(missing_ok=True)
        atomic.write_json(self.folder / FILE, self._identity)

    def _write(self, number: int, path: Path, draw: Draw, embed: Embed, note: Callable[[int], None]) -> None:
        """One shard, whole or not at all; `note` is told how many records are done."""
        first = number * self.how.shard
        records = range(first, min(first + self.how.shard, self.how.records))
        together = max(1, TOGETHER // self.how.record)
        with (
            atomic.file(path) as scratch,
            open(scratch, "wb") as stream,
            library().TarWriter(stream, mtime=0) as writer,
        ):
            for at in range(0, len(records), together):
                group = records[at : at + together]
                drawn = [draw(self.how.record, np.random.default_rng([self._seed, k])) for k in group]
                vectors = embed([item for one in drawn for item in one.items])
                for k, one, rows in zip(group, drawn, np.split(vectors, len(group)), strict=True):
                    _require_numbers(rows, one)
                    writer.write(self._record(k, rows))
                    note(k + 1)

    def _record(self, number: int, vectors: Floats) -> dict[str, Any]:
        note = {"seed": [self._seed, number], "items": len(vectors)}
        return {"__key__": f"{number:08}", "npy": vectors.astype(np.float16), "json": note}


REMEDY = "remove that folder, or name another cache.path"


def _decode(record: Record) -> Remembered:
    """A record as it was written.

    Raises
    ------
    RecordingError: it holds something else.
    """
    try:
        vectors = np.load(io.BytesIO(record["npy"]), allow_pickle=False).astype(np.float32)
        seed = tuple(int(part) for part in json.loads(record["json"])["seed"])
    except (KeyError, ValueError, EOFError, TypeError) as error:
        raise RecordingError("a record of the cache cannot be read", where=str(record.get("__key__"))) from error
    # float16 rounds a unit vector's length by up to 1e-3.
    return Remembered(seed, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _require_numbers(vectors: Floats, drawn: Samples) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise RecordingError("the teacher's vector is no number", where=drawn.name(int(bad[0])))
