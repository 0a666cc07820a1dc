"""Records in tar shards (WebDataset's layout), read in an order that depends on the seed and the epoch alone.

Shards change places from epoch to epoch; a buffer then mixes their records. To go on at record 10,000 the records before it
are read and not decoded, which a disk does faster than a tower can follow.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import tarfile
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgebind.errors import RecordingError

Record = dict[str, bytes]
"""Extension -> bytes; `__key__` is the record's name and `__url__` its shard's, as text."""
SKIPPED = re.compile(r"__[^/]*__($|/)")
"""Names that the library passes over, as WebDataset reserves them for descriptions of the shard."""


class Shards:
    """All records of some shards, again and again."""

    def __init__(self, paths: list[Path], *, seed: int, buffer: int = 1000) -> None:
        """Read `paths`; `buffer` records are mixed, 1 keeps the order within a shard.

        Raises
        ------
        RecordingError: no shards, or one that cannot be read.
        """
        if not paths:
            raise RecordingError("there are no shards", wanted="files that end in .tar")
        self.paths, self._seed, self._buffer = sorted(paths), seed, buffer
        self._counts = [_count(path) for path in self.paths]
        self._stream: Iterator[Record] = iter(())
        self._epoch, self._place = -1, 0

    def __len__(self) -> int:
        """Records in an epoch."""
        return sum(self._counts)

    def take(self, first: int, count: int) -> list[Record]:
        """Records `first` to `first + count`, counted through all epochs; cheap when they follow those taken before."""
        return [self._record(index) for index in range(first, first + count)]

    def _record(self, index: int) -> Record:
        epoch, place = divmod(index, len(self))
        if epoch != self._epoch or place < self._place:
            self._epoch, self._place, self._stream = epoch, 0, self._open(epoch)
        for _ in range(place - self._place):
            next(self._stream)
        self._place = place + 1
        return next(self._stream)

    def _open(self, number: int) -> Iterator[Record]:
        order = np.random.default_rng([self._seed, number]).permutation(len(self.paths))
        records = itertools.chain.from_iterable(_records(self.paths[at]) for at in order)
        if self._buffer == 1:
            return records
        mixed = library().shuffle(self._buffer, initial=self._buffer, rng=random.Random(f"{self._seed} {number}"))
        mixed_records: Iterator[Record] = mixed(records)
        return mixed_records


def _records(path: Path) -> Iterator[Record]:
    """One shard's records in their order; the library leaves files open, so they are opened here."""
    read = library().tariterators
    with open(path, "rb") as stream:
        yield from read.group_by_keys(read.tar_file_expander([{"url": str(path), "stream": stream}]))


@cache
def library() -> Any:
    """WebDataset, without the warnings of its own imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import webdataset
    return webdataset


def number_of(record: Record) -> int:
    """A number that tells a record from all others of its folder, whatever the epoch: of the names of its shard and its own."""
    name = f"{Path(str(record['__url__'])).name}/{record['__key__']!s}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")


def _count(path: Path) -> int:
    """Records of one shard, as the library will find them: neighbours of one name, of files that have an extension."""
    try:
        with tarfile.open(path) as archive:
            names = [member.name for member in archive if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise RecordingError("is no tar shard, or is cut off", where=path, got=error) from error
    split = library().tariterators.base_plus_ext
    keys = [split(name)[0] for name in names if not SKIPPED.match(name)]
    records = sum(1 for _ in itertools.groupby(key for key in keys if key is not None))
    if not records:
        raise RecordingError("a shard without records", where=path)
    return records
