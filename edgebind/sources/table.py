"""CSV and CSV.gz: rows of samples under a line of titles, read block by block so that long files start at once.

A fault in the middle is found when its block is read: everything before it has been handed on by then.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind.closing import Closing
from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Chunk, Times
from edgebind.sources import columns
from edgebind.sources.checks import REMEDY_OF_TIME, Plausible, refuse_far_times
from edgebind.sources.columns import Layout
from edgebind.sources.cutting import even_times, pieces, same_rate
from edgebind.sources.lines import bounded, opened
from edgebind.sources.units import TIME, Units

BLOCK = 8192
"""Rows parsed at a time."""
BLOCK_CHARACTERS = 1 << 24
"""Of the rows parsed at a time, where they are long."""
DELIMITERS = (",", ";", "\t")
EPOCHS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (0.0, "s"))
"""Stamps without a unit: from this magnitude on, this unit makes it a date of our days; small ones are seconds."""

Lines = list[str]


class TableSource(Closing):
    """A recording in a table."""

    modality = "imu"

    def __init__(
        self,
        path: Path,
        spec: WindowSpec,
        *,
        rate_hz: float | None = None,
        units: Units | None = None,
        chunk_seconds: float = 0.02,
    ) -> None:
        """Replay `path`.

        Parameters
        ----------
        spec: channels that are wanted, in their order, and the rate and length a recording is checked against.
        rate_hz: samples a second, for tables without times.
        units: what the user says; the rest follows from the titles.
        chunk_seconds: how much of the signal a chunk holds.
        """
        self.path = path
        self.name = str(path)
        self._spec = spec
        self._rate = rate_hz
        self._units = units or Units()
        self._chunk = max(1, round(chunk_seconds * NANOSECONDS))

    def __iter__(self) -> Iterator[Chunk]:
        with self._opened() as rows:
            head = self._head(rows)
            layout = self._layout(head)
            plausible = Plausible(
                self._spec,
                self.name,
                frozenset(self._units.given),
                in_g=any(column.unit == "g" for column in layout.channels),
                remedy=self._remedy(layout),
            )
            yield from self._chunks(rows, head, layout, plausible)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Iterator[str]]:
        """The lines."""
        with opened(self.path) as stream:
            yield bounded(stream, self.name)

    def _head(self, rows: Iterator[str]) -> Head:
        return read_head(rows, self.name)

    def _blocks(self, rows: Iterator[str]) -> Iterator[Lines]:
        """Lines that are parsed together."""
        return blocks(rows)

    def _layout(self, head: Head) -> Layout:
        wanted = self._spec.channels
        if head.is_bare:
            return columns.bare(len(head.cells), wanted, self._units, self.name)
        return columns.find(head.cells, wanted, self._units, self.name)

    def _chunks(self, rows: Iterator[str], head: Head, layout: Layout, plausible: Plausible) -> Iterator[Chunk]:
        self._require_times(layout)
        used = [column.index for column in layout.channels] + ([layout.time.index] if layout.time else [])
        factors = np.array(layout.factors)
        unit, row, number = "", 0, head.number
        for lines in self._blocks(itertools.chain(head.first_rows, rows)):
            where = _Where(self.name, lines, number)
            table = _parse(lines, used, head, where)
            with np.errstate(over="ignore"):  # too large becomes infinity, which is refused below with its line
                samples = (table[:, : len(factors)] * factors).astype(np.float32)
            stamps = table[:, -1] if layout.time else None
            unit = unit or _unit_of_time(layout, stamps)
            own = None if stamps is None else _nanoseconds(stamps, unit, lines, used[-1], head, where)
            times = self._times(own, row, len(table))
            plausible.check(times, samples, where)
            yield from pieces(times, samples, self._chunk, self.name)
            row, number = row + len(table), number + len(lines)
        plausible.finish()

    def _require_times(self, layout: Layout) -> None:
        if layout.time is None and self._rate is None:
            raise RecordingError(
                "no column of time", where=self.name, wanted=" or ".join(columns.TIME[1:5]), remedy="or say --rate HZ"
            )

    def _remedy(self, layout: Layout) -> str:
        """What to say where the rate cannot be true."""
        return REMEDY_OF_TIME if layout.time else "is --rate right?"

    def _times(self, own: Times | None, row: int, count: int) -> Times:
        """Times of rows `row`, ...: the table's own, unless the user gave a rate that agrees with them."""
        if self._rate is None and own is not None:
            return own
        rate = float(self._rate or 0.0)
        if own is not None and row == 0:
            same_rate(own, rate, self.name)
        return even_times(row, count, rate)


class Head:
    """What the first line of a table says."""

    def __init__(self, text: str, number: int) -> None:
        self.delimiter = max(DELIMITERS, key=text.count)
        self.cells = [cell.strip().strip("\"'") for cell in text.strip().split(self.delimiter)]
        numbers = [_is_number(cell) for cell in self.cells]
        self.is_bare, self.has_numbers = all(numbers), any(numbers)
        self.number = number if self.is_bare else number + 1
        """Line that the first row stands in, counted from 1."""
        self.first_rows = [text] if self.is_bare else []


class _Where:
    """Rows of a block -> lines of the file, which may have empty lines in between."""

    def __init__(self, name: str, lines: Lines, number: int) -> None:
        self._name, self._lines, self._number = name, lines, number

    def __call__(self, row: int) -> str:
        full = (index for index, text in enumerate(self._lines) if text.strip())
        return f"{self._name}, line {self._number + next(itertools.islice(full, row, None))}"


def read_head(rows: Iterator[str], name: str) -> Head:
    """The first line that is not empty.

    Raises
    ------
    RecordingError: there is none.
    """
    for number, text in enumerate(rows, 1):
        if text.strip():
            return Head(text, number)
    raise RecordingError("no samples", where=name, wanted="a line of titles and rows of numbers", got="an empty file")


def blocks(rows: Iterable[str]) -> Iterator[Lines]:
    """`rows` some at a time: at most `BLOCK` of them, and not many more than `BLOCK_CHARACTERS`."""
    lines: Lines = []
    characters = 0
    for text in rows:
        lines.append(text)
        characters += len(text)
        if len(lines) == BLOCK or characters >= BLOCK_CHARACTERS:
            yield lines
            lines, characters = [], 0
    if lines:
        yield lines


def _parse(lines: Lines, used: Sequence[int], head: Head, where: Callable[[int], str]) -> NDArray[np.float64]:
    """The used columns of some lines as (rows, used)."""
    if not any(text.strip() for text in lines):
        return np.zeros((0, len(used)))
    _refuse_more_cells(lines, head, where)
    try:
        table = np.loadtxt(
            lines, delimiter=head.delimiter, usecols=used, ndmin=2, comments=None, quotechar='"', dtype=np.float64
        )
    except ValueError as error:
        raise _offender(lines, used, head, where) or RecordingError(
            f"cannot be read as numbers: {error}", where=where(0)
        ) from error
    if not np.isfinite(table).all():
        row, column = (int(found) for found in np.argwhere(~np.isfinite(table))[0])
        raise RecordingError(
            "not a number",
            where=where(row),
            wanted="finite values",
            got=f"{table[row, column]} {_title(head, used[column])}",
        )
    return table


def _refuse_more_cells(lines: Lines, head: Head, where: Callable[[int], str]) -> None:
    """Rows with more cells than titles, as decimal commas and unnamed row numbers make them, would be read shifted."""
    most = len(head.cells)
    for row, text in enumerate(filter(str.strip, lines)):
        if text.count(head.delimiter) < most or '"' in text:
            continue
        if any(cell.strip() for cell in text.split(head.delimiter)[most:]):
            got = text.count(head.delimiter) + 1
            remedy = "write decimals with points, and give every column a title"
            raise RecordingError("more cells than columns", where=where(row), wanted=most, got=got, remedy=remedy)


def _offender(lines: Lines, used: Sequence[int], head: Head, where: Callable[[int], str]) -> RecordingError | None:
    """What is wrong with the first line that is no row of numbers."""
    for row, text in enumerate(filter(str.strip, lines)):
        cells = [cell.strip().strip('"') for cell in text.split(head.delimiter)]
        if len(cells) <= max(used):
            return RecordingError("cut off", where=where(row), wanted=f"{len(head.cells)} columns", got=len(cells))
        for index in used:
            if not _is_number(cells[index]):
                got = f"{cells[index][:40]!r} {_title(head, index)}"
                return RecordingError("not a number", where=where(row), wanted="numbers", got=got)
    return None


def _title(head: Head, index: int) -> str:
    return f"in column {index + 1}" if head.is_bare else f"in column {head.cells[index]}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000, NumPy does not


def _unit_of_time(layout: Layout, stamps: NDArray[np.float64] | None) -> str:
    """What the title or the user says; else what makes the stamps a date of our days."""
    if layout.time is None or stamps is None or not len(stamps):
        return ""
    return layout.time.unit or next(unit for least, unit in EPOCHS if abs(float(stamps[0])) >= least)


def _nanoseconds(
    stamps: NDArray[np.float64], unit: str, lines: Lines, column: int, head: Head, where: Callable[[int], str]
) -> Times:
    """Stamps in their unit -> nanoseconds, without rounding what the file says exactly."""
    if not len(stamps):  # nothing but empty lines, maybe before the first stamp that tells the unit
        return np.zeros(0, np.int64)
    refuse_far_times(stamps, unit, where)
    if unit == "ns" and abs(stamps).max() > 2**53:  # today's date needs more digits than a float has
        with contextlib.suppress(ValueError):
            exact: Times = np.loadtxt(
                lines, delimiter=head.delimiter, usecols=column, ndmin=1, comments=None, quotechar='"', dtype=np.int64
            )
            return exact
    whole = np.floor(stamps)
    return whole.astype(np.int64) * int(TIME[unit]) + np.round((stamps - whole) * TIME[unit]).astype(np.int64)
