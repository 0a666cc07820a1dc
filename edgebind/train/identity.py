"""What decides an outcome beside the recipe: the files that it names. Whoever keeps results keeps this beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgebind import modality as modalities
from edgebind.bundle import sha256
from edgebind.train.data import pairs
from edgebind.train.recipe import Data

SIZE_SAYS_NOTHING = (".npy", ".wav", ".jsonl", ".tif", ".tiff", ".bmp", ".pgm", ".ppm")
"""Files that may well be as long as before when something else is in them: in other units, say."""


def of_data(data: Sequence[Data], fold: int | None) -> dict[str, Any]:
    """What decides which items there are: each folder's reader, files, and what is held out.

    Wherever the folders lie. Compressed files are known by their size, since to read a large data set takes long.
    """
    found = [(one.reader, one.folders, one.held_out(fold), (one.parts, fold) if one.parts else 0) for one in data]
    listing = [_described(file, name) for one in data for name, file in _files_of(one)]
    return {"data": hashlib.sha256(repr((found, listing)).encode()).hexdigest()}


def stamp(data: Iterable[Data], others: Iterable[str | Path]) -> str:
    """What changes when a file of `data`, or `others` or below them, is written to."""
    files = [file for one in data for _, file in _files_of(one)]
    files += [file for other in others if str(other) for file in _below(Path(other))]
    found = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _described(file: Path, name: str) -> tuple[Any, ...]:
    known = (name, file.stat().st_size)
    return (*known, sha256(file)) if file.suffix.lower() in SIZE_SAYS_NOTHING else known


def _files_of(data: Data) -> list[tuple[str, Path]]:
    """Name and place of each file of a folder, or of a table and all that it names."""
    path = Path(data.path)
    named = _named_in(path) if data.reader == "table" and path.is_file() else []
    return [*((str(file.relative_to(path)), file) for file in _below(path)), *named]


def _named_in(table: Path) -> list[tuple[str, Path]]:
    """Files in the columns that sensors are read from; what else a row says, text too, is in the table itself."""
    sensors = set(modalities.MODALITIES) - {"text"}
    found = [row[key] for _, row in pairs.rows(table) if isinstance(row, dict) for key in row if key in sensors]
    values = dict.fromkeys(value for value in found if isinstance(value, str))
    return [(value, table.parent / value) for value in values if (table.parent / value).is_file()]


def _below(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
