"""Replaying a recording as fast as it was made, or faster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from edgebind.errors import OptionError
from edgebind.signals import NANOSECONDS, Chunk
from edgebind.sources.base import Source

AT_ONCE = float("inf")
"""Speed of a replay that waits for nothing."""


class Clock(Protocol):
    """What replay needs of time; `edgebind.testing.FakeClock` is one that is moved by hand."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Come back after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Paced:
    """A source whose chunks come when their last sample would have been taken."""

    def __init__(self, source: Source, speed: float = 1.0, clock: Clock | None = None) -> None:
        """Replay `source` at `speed` times the original; `AT_ONCE` waits for nothing."""
        self._source = source
        self._speed = speed
        self._clock = clock or SystemClock()

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def modality(self) -> str:
        return self._source.modality

    def __iter__(self) -> Iterator[Chunk]:
        begun, first = self._clock.monotonic_ns(), None
        for chunk in self._source:
            if len(chunk) and self._speed != AT_ONCE:
                first = int(chunk.times[0]) if first is None else first
                due = begun + (int(chunk.times[-1]) - first) / self._speed
                left = due - self._clock.monotonic_ns()
                if left > 0:
                    self._clock.sleep(left / NANOSECONDS)
            yield chunk

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Paced:
        self._source.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)


def parse_speed(text: str) -> float:
    """`max`, or a factor of the original speed.

    Raises
    ------
    OptionError: neither.
    """
    if text == "max":
        return AT_ONCE
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < AT_ONCE:
        raise OptionError("--speed does not fit", wanted="max, or a factor above 0 such as 1 or 2.5", got=repr(text))
    return speed
