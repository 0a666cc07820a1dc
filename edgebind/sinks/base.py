"""What every sink promises, whether it writes a file or a terminal's line."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from edgebind.signals import Embedding


class Sink(Protocol):
    """Takes embeddings in the order of time; closed when its `with` block ends."""

    def write(self, embedding: Embedding) -> None:
        """Take one embedding; it is out of our hands when this returns.

        Raises
        ------
        StorageError: the disk is full or cannot be written.
        """
        ...

    def close(self) -> None:
        """Write what is left and let go; calling it twice is harmless."""
        ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
