"""The files that data sets describe themselves with, and which of the clips they name are there."""

from __future__ import annotations

import csv
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edgebind import extras, utf8
from edgebind.errors import MissingDependencyError, RecordingError
from edgebind.evaluate.dataset import Clip, Sample

Item = TypeVar("Item")
Row = dict[str, str]


def text(path: Path) -> str:
    """The whole of a text file.

    Raises
    ------
    RecordingError: it is missing, or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError("is not text", where=path, wanted="UTF-8") from error
    except OSError as error:
        remedy = "unpack the data set there, in the layout it is published in"
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path, remedy=remedy) from error


def rows(path: Path, columns: Sequence[str], *, delimiter: str = ",") -> Iterator[Row]:
    """The rows of a CSV file with a line of titles, each with at least `columns`.

    Raises
    ------
    RecordingError: no such file, a column is missing, or a row is cut off.
    """
    reader = csv.DictReader(io.StringIO(text(path), newline=""), delimiter=delimiter, skipinitialspace=True)
    titles = [title.strip() for title in reader.fieldnames or ()]
    require(columns, titles, path)
    reader.fieldnames = titles
    for row in _whole(reader, path):
        if any(row[column] is None for column in columns):
            raise RecordingError(
                "row is cut off", where=f"{path}, line {reader.line_num}", wanted=f"{len(titles)} columns"
            )
        yield row


def bare_rows(path: Path, width: int, *, delimiter: str = ",", comment: str | None = None) -> Iterator[list[str]]:
    """The rows of a CSV file without titles, each with at least `width` cells; `comment` starts a line to pass over.

    Raises
    ------
    RecordingError: no such file, or a row with fewer cells.
    """
    lines = io.StringIO(text(path), newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    for cells in _whole(reader, path):
        if not cells or (comment and cells[0].startswith(comment)):
            continue
        if len(cells) < width:
            where = f"{path}, line {reader.line_num}"
            raise RecordingError("row is cut off", where=where, wanted=f"{width} columns", got=len(cells))
        yield cells


def _whole(reader: Iterable[Item], path: Path) -> Iterator[Item]:
    try:
        yield from reader
    except csv.Error as error:
        raise RecordingError(f"is no CSV: {error}", where=path) from error


def require(columns: Sequence[str], titles: Sequence[str], path: Path) -> None:
    """Refuse a table that lacks one of `columns`.

    Raises
    ------
    RecordingError: names the first that is missing.
    """
    missing = [column for column in columns if column not in titles]
    if missing:
        raise RecordingError(
            f"column {missing[0]} is missing",
            where=path,
            wanted=", ".join(columns),
            got=", ".join(titles)[:200] or "an empty file",
            remedy="the data set's own file is wanted, with its line of titles",
        )


def tree(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    RecordingError: it is missing, or no JSON.
    """
    try:
        return json.loads(text(path))
    except ValueError as error:
        raise RecordingError(f"is no JSON: {error}", where=path) from error


def matlab(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Variables of a MATLAB file up to version 7; cells and structures become arrays, lists and dictionaries.

    Raises
    ------
    RecordingError: it is missing, damaged, of version 7.3, or lacks one of `names`.
    MissingDependencyError: SciPy is not installed.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingDependencyError("SciPy is not installed", remedy=extras.remedy("evaluate")) from error
    try:
        found = loadmat(path, simplify_cells=True, variable_names=list(names))
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
    # NotImplementedError is SciPy's word for version 7.3, which is HDF5.
    except (MatReadError, ValueError, TypeError, LookupError, NotImplementedError, zlib.error) as error:
        wanted = "a MATLAB file up to version 7"
        raise RecordingError(f"is no MATLAB file, or damaged: {error}", where=path, wanted=wanted) from error
    for name in names:
        if name not in found:
            raise RecordingError(f"variable {name} is missing", where=path, wanted=", ".join(names))
    return {name: found[name] for name in names}


def whole_number(cell: str, what: str, path: Path) -> int:
    """A cell of a table as an int.

    Raises
    ------
    RecordingError: it is none.
    """
    try:
        return int(cell)
    except ValueError as error:
        raise RecordingError(f"{what} is no whole number", where=path, got=repr(cell[:40])) from error


def number(cell: str, what: str, path: Path) -> float:
    """A cell of a table as a finite float.

    Raises
    ------
    RecordingError: it is none.
    """
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RecordingError(f"{what} is no number", where=path, got=repr(cell[:40]))
    return value


def first_that_exists(root: Path, *names: str) -> Path:
    """The first of some paths below `root`, where a data set is found in several layouts.

    Raises
    ------
    RecordingError: there is none of them.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    raise RecordingError("not in the data set's layout", where=root, wanted=" or ".join(names), got=_listing(root))


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"


def is_there(path: Path) -> bool:
    """Whether a file exists and holds anything: interrupted downloads leave empty ones behind."""
    try:
        return path.stat().st_size > 0 and path.is_file()
    except OSError:
        return False


def present(
    items: Sequence[Item],
    path_of: Callable[[Item], Path],
    root: Path,
    check: Callable[[list[Path]], list[bool]] | None = None,
) -> tuple[list[Item], dict[str, str]]:
    """The items whose file is usable, and the note that says how many are not.

    Public data sets lose clips every year; what is left is judged, and the report says so.

    Parameters
    ----------
    items: what the protocol lists.
    path_of: the file of an item.
    check: for each file whether it is usable; without it, whether it is there and not empty.

    Raises
    ------
    RecordingError: none of them is.
    """
    paths = [path_of(item) for item in items]
    usable = check(paths) if check else [is_there(path) for path in paths]
    found = [item for item, good in zip(items, usable, strict=True) if good]
    if not found:
        wanted = f"files like {below(root, paths[0])}" if paths else "a list with at least one clip"
        raise RecordingError("holds none of the data set's clips", where=root, wanted=wanted)
    return found, {"clips": _counted(usable, paths, root)}


def _counted(usable: Sequence[bool], paths: Sequence[Path], root: Path) -> str:
    lost = [path for path, good in zip(paths, usable, strict=True) if not good]
    if not lost:
        return f"all {len(paths)} of the protocol"
    return (
        f"{len(paths) - len(lost)} of the protocol's {len(paths)}; {len(lost)} are absent or cannot be read, "
        f"for example {below(root, lost[0])}"
    )


def clip(root: Path, path: Path, load: Callable[[], Sample], part: str = "") -> Clip:
    """What a file holds, or a `part` of it; other bytes in the file are another clip to the cache of vectors."""
    return Clip(below(root, path) + part, load, stamp(path))


def below(root: Path, path: Path) -> str:
    """A clip's name: its path below the data set's root."""
    return utf8.shown(path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path))


def stamp(path: Path) -> str:
    """Another one once the file has been written anew; nothing where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
