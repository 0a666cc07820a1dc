"""Rows of a table as a live sensor sends them: over a serial line, a named pipe or standard input.

    ... | edgebind run --sensor imu --source rows:-
    edgebind run --sensor imu --source rows:/dev/ttyACM0@115200

Columns, units and checks are those of a table. What differs is time: nothing waits for a whole file, and a row without
a stamp of its own was taken when its line came.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Times
from edgebind.sources.columns import Layout
from edgebind.sources.lines import bounded, reading
from edgebind.sources.pacing import Clock, SystemClock
from edgebind.sources.table import BLOCK, Head, Lines, TableSource, read_head
from edgebind.sources.units import Units

STANDARD_INPUT = "-"
AT_ONCE = 64
"""Rows parsed at a time, of a pipe that is filled faster than a sensor would: those before a faulty row go with it."""
NO_TEXT = "\ufffd"
"""What a byte becomes that is no UTF-8; it stands in no number, so it is found where its line is."""


def open_rows(
    address: str,
    modality: str,
    spec: WindowSpec,
    *,
    rate_hz: float | None = None,
    units: Units | None = None,
    chunk_seconds: float = 0.02,
) -> RowSource:
    """A live source of rows.

    Parameters
    ----------
    address: `-` for standard input, a named pipe, or a serial line, `/dev/ttyACM0` or `/dev/ttyUSB0@921600`; without a
        speed the line keeps the one it has.
    rate_hz: samples a second, of rows without a stamp; without it they are stamped as they come.

    Raises
    ------
    OptionError: another sensor than an IMU, an address that is no live line, or a speed that no line has.
    RecordingError: nothing there.
    """
    if modality != "imu":
        raise OptionError("rows are of an IMU", where=f"rows:{address}", wanted="imu", got=modality)
    path, speed = _address(address)
    return RowSource(path, spec, speed=speed, rate_hz=rate_hz, units=units, chunk_seconds=chunk_seconds)


class RowSource(TableSource):
    """A table that is still being written."""

    def __init__(
        self,
        path: Path,
        spec: WindowSpec,
        *,
        speed: int | None = None,
        rate_hz: float | None = None,
        units: Units | None = None,
        chunk_seconds: float = 0.02,
        clock: Clock | None = None,
    ) -> None:
        """Listen to `path`, see `open_rows`.

        Parameters
        ----------
        speed: of a serial line, a constant of `termios`.
        clock: of the rows' arrival; None takes the machine's.
        """
        super().__init__(path, spec, rate_hz=rate_hz, units=units, chunk_seconds=chunk_seconds)
        self.name = "standard input" if str(path) == STANDARD_INPUT else str(path)
        self._speed = speed
        self._came: list[int] = []
        """When the lines came that are no samples yet, nanoseconds since 1970."""
        self._waiting = self._old = 0
        """Bytes that are left of those that waited in a pipe when we came, and how many of `_came` were among them."""
        self._by_arrival = False
        """Whether rows are stamped as they come."""
        self._is_line = False
        """Whether it is a serial line, which ends only when it is cut."""
        self._clock = clock or SystemClock()
        # Dates, from a clock that nobody sets back.
        self._epoch = time.time_ns() - self._clock.monotonic_ns()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Iterator[str]]:
        with reading(self.name), _stream(self.path) as stream:
            if str(self.path) != STANDARD_INPUT and stream.isatty():
                _make_raw(stream.fileno(), self._speed, self.path)
                self._is_line = True
            self._waiting = _waiting(stream.fileno())
            yield self._stamped(bounded(stream, self.name))

    def _stamped(self, rows: Iterator[str]) -> Iterator[str]:
        for text in rows:
            if self._is_line and not text.endswith("\n"):
                break
            self._waiting -= len(text.encode())
            if text.strip():
                self._came.append(self._epoch + self._clock.monotonic_ns())
                self._old += self._waiting >= 0
            yield text
        if self._is_line:
            raise RecordingError("the serial line is gone", where=self.name, remedy="is the sensor still connected?")

    def _head(self, rows: Iterator[str]) -> Head:
        head = read_head(rows, self.name)
        if self._is_line and self._is_no_head(head):
            self._forget()
            left_out = head.number - (not head.is_bare)
            head = read_head(rows, self.name)
            head.number += left_out
        if not head.is_bare:
            self._forget()
        if any(NO_TEXT in cell for cell in head.cells):
            remedy = "is that the sensor's speed?" if self._is_line else None
            raise RecordingError("is not text", where=self.name, wanted="rows in UTF-8", remedy=remedy)
        return head

    def _forget(self) -> None:
        self._came.clear()
        self._old = 0

    def _is_no_head(self, head: Head) -> bool:
        """Whether the sensor was in the middle of this line, or greeted first."""
        return head.has_numbers or len(head.cells) == 1 < len(self._spec.channels)

    def _blocks(self, rows: Iterator[str]) -> Iterator[Lines]:
        """What came in a chunk's time; at first in a window's, which is enough to see if it can be true."""
        lines: Lines = []
        patience = round(self._spec.seconds * NANOSECONDS)
        most = BLOCK if self._by_arrival else round(self._spec.seconds * self._spec.rate_hz)
        for text in rows:
            lines.append(text)
            waited = self._came[-1] - self._came[0] if self._came else 0
            if waited >= patience or len(lines) >= most:
                patience = self._chunk if self._came else patience
                most = BLOCK if self._by_arrival else AT_ONCE
                yield self._without_old(lines)
                lines = []
        if lines:
            yield self._without_old(lines)

    def _without_old(self, lines: Lines) -> Lines:
        """Rows that waited for us came nobody knows when; empty lines in their places keep the numbers of the others."""
        old, self._old = self._old, 0
        if not self._by_arrival or not 0 < old < len(self._came):
            return lines
        del self._came[:old]
        first = [place for place, text in enumerate(lines) if text.strip()][old]
        return ["\n"] * first + lines[first:]

    def _require_times(self, layout: Layout) -> None:
        """Rows need no stamp."""
        self._by_arrival = layout.time is None and self._rate is None

    def _remedy(self, layout: Layout) -> str:
        if layout.time or self._rate is not None:
            return super()._remedy(layout)
        return "rows that do not come one by one need --rate HZ"

    def _times(self, own: Times | None, row: int, count: int) -> Times:
        came, self._came = self._came[:count], self._came[count:]
        if self._by_arrival:
            return np.array(came, np.int64)
        return super()._times(own, row, count)


def _address(text: str) -> tuple[Path, int | None]:
    """`/dev/ttyUSB0@921600` -> the path, and the speed as `termios` knows it."""
    name, at, baud = text.rpartition("@")
    if not at or not baud.isdigit():
        name, baud = text, ""
    path = Path(name)
    if name != STANDARD_INPUT:
        _require_live(path)
    if not baud:
        return path, None
    if name == STANDARD_INPUT or path.is_fifo():
        raise OptionError("only a serial line has a speed", where=f"rows:{text}", wanted=f"rows:{name}")
    speed = getattr(termios, f"B{baud}", None)
    if not speed:  # 0 hangs up
        raise OptionError("no serial line has that speed", where=f"rows:{text}", wanted="such as 115200", got=baud)
    return path, speed


def _require_live(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        wanted = "a named pipe, a serial line, or - for standard input"
        raise OptionError("rows do not arrive there", where=path, wanted=wanted, remedy=f"replay it as file:{path}")


@contextlib.contextmanager
def _stream(path: Path) -> Iterator[io.TextIOWrapper]:
    """Text as it comes, a line at a time."""
    descriptor = _standard_input() if str(path) == STANDARD_INPUT else _open(path)
    with open(descriptor, encoding="utf-8-sig", errors="replace", newline=None) as stream:
        yield stream


def _standard_input() -> int:
    if sys.stdin is None:  # closed by whoever started us, as by `<&-`
        raise RecordingError("is closed", where="standard input", wanted="rows")
    return os.dup(sys.stdin.fileno())


def _open(path: Path) -> int:
    """A pipe waits for its writer; a serial line must not wait for a modem's carrier, which a sensor does not have."""
    if stat.S_ISFIFO(path.stat().st_mode):
        return os.open(path, os.O_RDONLY)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def _waiting(descriptor: int) -> int:
    """Bytes that wait in a pipe; 0 of anything else."""
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return 0
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def _make_raw(descriptor: int, speed: int | None, path: Path) -> None:
    """No echo, no control characters, no carrier; lines end as the sensor ends them.

    Raises
    ------
    RecordingError: the line refuses.
    """
    try:
        modes = termios.tcgetattr(descriptor)
        modes[2] |= termios.CLOCAL | termios.CREAD
        if speed is not None:
            modes[4] = modes[5] = speed
        termios.tcsetattr(descriptor, termios.TCSANOW, modes)
        termios.tcflush(descriptor, termios.TCIFLUSH)
        tty.setraw(
            descriptor, termios.TCSANOW
        )  # last: whoever sees a raw line knows that nothing is thrown away any more
    except termios.error as error:
        raise RecordingError(f"the line cannot be set: {error.args[-1]}", where=path) from error
