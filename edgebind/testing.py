"""Stand-ins for hardware, for your tests as for ours: nothing here sleeps, opens a port or needs a sensor.

source = ListSource([Chunk(times, samples)])
sink = ListSink()
Stream(source, Windower(bundle.manifest.window), bundle, [sink]).run()
assert sink.embeddings[0].labels["a person walking"] > 0.5
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgebind.closing import Closing as _Closing
from edgebind.signals import NANOSECONDS, Chunk, Embedding

__all__ = ["FakeClock", "ListSink", "ListSource"]


class ListSource(_Closing):
    """A source that hands on the chunks of a list."""

    def __init__(self, chunks: Sequence[Chunk], modality: str = "imu", name: str = "list") -> None:
        """Hand on `chunks` as if they came from the sensor `modality`."""
        self.chunks = list(chunks)
        self.modality = modality
        self.name = name
        self.is_closed = False
        """Whether the stream has let go of it."""

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self.chunks)

    def close(self) -> None:
        self.is_closed = True


class ListSink(_Closing):
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.embeddings: list[Embedding] = []
        """Everything that was written, in order."""
        self.is_closed = False
        """Whether the stream has let go of it."""

    def write(self, embedding: Embedding) -> None:
        self.embeddings.append(embedding)

    def close(self) -> None:
        self.is_closed = True


class FakeClock:
    """A clock that is moved by hand, or by those who sleep on it; see `edgebind.sources.pacing.Clock`."""

    def __init__(self, now_ns: int = 0) -> None:
        """Begin at `now_ns` nanoseconds."""
        self.now_ns = now_ns
        self.naps: list[float] = []
        """Seconds of each sleep, in order."""

    def monotonic_ns(self) -> int:
        """Nanoseconds."""
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        """Come back at once, `seconds` later."""
        self.naps.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self.now_ns += round(seconds * NANOSECONDS)
