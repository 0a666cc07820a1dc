"""What every source promises, whether it replays a file or listens to a sensor."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from edgebind.signals import Chunk


class Source(Protocol):
    """An iterable of chunks in the order of time; closed when its `with` block ends."""

    @property
    def name(self) -> str:
        """Where the samples come from, for people: a path, a topic, a port."""
        ...

    @property
    def modality(self) -> str:
        """Name of the sensor, see `edgebind.modality`."""
        ...

    def __iter__(self) -> Iterator[Chunk]:
        """The chunks.

        Raises
        ------
        RecordingError: samples that cannot be read or cannot be true; what came before them was right.
        """
        ...

    def close(self) -> None:
        """Let go of files and devices; calling it twice is harmless."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
