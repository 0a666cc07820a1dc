"""Source -> windower -> bundle -> sinks.

a recording at full speed    one thread: read, window, embed, write; nothing is ever dropped
live, or replayed in time    a thread reads into a bounded queue, so that a slow encoder never blocks the sensor;
                             when the queue is full the oldest chunk goes, and its window shows the gap
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgebind.errors import OptionError, RecordingError
from edgebind.labels import LabelBank
from edgebind.manifest import Manifest
from edgebind.signals import NANOSECONDS, Chunk, Embedding, Floats, Window
from edgebind.sinks.base import Sink
from edgebind.sources.base import Source
from edgebind.window import Counters as WindowCounters
from edgebind.wording import counted

if TYPE_CHECKING:
    from edgebind.bundle import Bundle
    from edgebind.drift import Detector, Drift

BATCH = 16
"""Windows embedded in one call when they are there anyway."""
EMBED_BATCH = 32
"""Windows in one call of `embed_recording`, which nobody watches; more are no faster each, and fit no cache."""
QUEUE = 1024
"""Chunks between the reader and the encoder: about 20 s of a sensor that sends every 20 ms."""
PATIENCE_S = 1.0
"""Seconds for the reader's thread to end by itself; one that a silent sensor blocks is left behind."""

Arrived = tuple[int, Chunk]
"""When a chunk came, on the monotonic clock in nanoseconds, and the chunk."""


class Embedder(Protocol):
    """What a stream needs of a bundle."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def labels(self) -> LabelBank: ...

    def embed(self, windows: Sequence[Window]) -> Floats: ...


class AnyWindower(Protocol):
    """What a stream needs of a windower."""

    counters: WindowCounters

    def push(self, chunk: Chunk) -> list[Window]: ...

    def finish(self) -> list[Window]: ...


@dataclass(slots=True)
class Counters:
    """What a stream has done so far."""

    chunks: int = 0
    """Taken by the windower."""
    lost_chunks: int = 0
    """Dropped because the encoder was too slow for a live source."""
    windows: int = 0
    dropped_windows: int = 0
    """Windows with too little coverage, or frames closer than a hop."""
    embedded: int = 0
    """Handed to every sink."""

    def __str__(self) -> str:
        text = f"{counted(self.embedded, 'window')} embedded"
        if self.dropped_windows:
            text += f", {self.dropped_windows} dropped (gaps, or faster than the hop)"
        return text + (f", {counted(self.lost_chunks, 'chunk')} lost (encoder too slow)" if self.lost_chunks else "")


class Stream:
    """Runs one source through one bundle until it ends or is interrupted."""

    def __init__(
        self,
        source: Source,
        windower: AnyWindower,
        bundle: Embedder | Bundle,
        sinks: Sequence[Sink],
        *,
        bank: LabelBank | None = None,
        live: bool = False,
        batch: int = BATCH,
        queue_chunks: int = QUEUE,
        duration_s: float | None = None,
        detector: Detector | None = None,
    ) -> None:
        """Connect the parts; the stream closes the source and the sinks.

        Parameters
        ----------
        bank: prompts to name; None takes the bundle's.
        live: read in a thread of its own, and drop the oldest chunks rather than block the source.
        batch: most windows embedded in one call. The first is embedded alone, so that it comes at once.
        queue_chunks: most chunks that wait for the encoder, when `live`.
        duration_s: stop after so many seconds of the source's own time.
        detector: looks whether the sensor still is as it was calibrated; None looks at nothing.
        """
        if batch < 1 or queue_chunks < 1:
            raise OptionError("a stream needs room", wanted="batch and queue of at least 1", got=(batch, queue_chunks))
        self._source, self._windower, self._sinks = source, windower, tuple(sinks)
        self._embed = _Namer(bundle, bank, detector)
        self._live, self._batch, self._queue_chunks = live, batch, queue_chunks
        self._duration = None if duration_s is None else round(duration_s * NANOSECONDS)
        self.counters = Counters()

    def run(self) -> Counters:
        """Stream until the source ends. On an error or Ctrl-C all that was embedded has reached the sinks.

        Raises
        ------
        RecordingError: samples that cannot be read or cannot be true.
        BackendError: the encoder cannot be run.
        StorageError: a sink cannot be written.
        """
        with contextlib.ExitStack() as stack:
            for sink in self._sinks:
                stack.enter_context(sink)
            stack.enter_context(self._source)
            reader = self._read_live() if self._live else self._read()
            with contextlib.closing(reader) as arrivals:
                self._work(arrivals)
        return self.counters

    def _work(self, arrivals: Iterator[Arrived]) -> None:
        waiting: list[tuple[int, Window]] = []
        arrived = time.monotonic_ns()
        try:
            for arrived, chunk in arrivals:
                self.counters.chunks += 1
                waiting += [(arrived, window) for window in self._windower.push(chunk)]
                self._count()
                if waiting and (self._live or not self.counters.embedded or len(waiting) >= self._batch):
                    self._hand_on(waiting)
        except RecordingError:
            self._hand_on(waiting)  # these windows were whole before the fault came
            raise
        waiting += [(arrived, window) for window in self._windower.finish()]
        self._count()
        self._hand_on(waiting)

    def _count(self) -> None:
        self.counters.windows = self._windower.counters.windows
        self.counters.dropped_windows = self._windower.counters.dropped

    def _hand_on(self, waiting: list[tuple[int, Window]]) -> None:
        """Embed and write all that waits."""
        while waiting:
            count = self._batch if self.counters.embedded else 1
            part = waiting[:count]
            del waiting[:count]
            for embedding in self._embed(part):
                for sink in self._sinks:
                    sink.write(embedding)
                self.counters.embedded += 1

    def _read(self) -> Generator[Arrived, None, None]:
        for chunk in self._within_duration():
            yield time.monotonic_ns(), chunk

    def _within_duration(self) -> Iterator[Chunk]:
        first: int | None = None
        for chunk in self._source:
            if self._duration is not None and len(chunk):
                first = int(chunk.times[0]) if first is None else first
                if int(chunk.times[-1]) - first >= self._duration:
                    count = int(chunk.times.searchsorted(first + self._duration))
                    if count:
                        yield Chunk(chunk.times[:count], chunk.samples[:count], chunk.origin)
                    return
            yield chunk

    def _read_live(self) -> Generator[Arrived, None, None]:
        """Chunks that a thread reads; an error in it comes up here."""
        waiting: queue.Queue[Arrived | BaseException | None] = queue.Queue()
        stop = threading.Event()
        reader = threading.Thread(target=self._fill, args=(waiting, stop), name="edgebind-reader", daemon=True)
        reader.start()
        try:
            while (item := waiting.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            reader.join(PATIENCE_S)  # else it may still read from a source that is closed already

    def _fill(self, waiting: queue.Queue[Arrived | BaseException | None], stop: threading.Event) -> None:
        """The reader's thread: keep the newest chunks, drop the oldest."""
        try:
            for chunk in self._within_duration():
                if stop.is_set():
                    return
                while waiting.qsize() >= self._queue_chunks:
                    with contextlib.suppress(queue.Empty):
                        waiting.get_nowait()
                        self.counters.lost_chunks += 1
                waiting.put((time.monotonic_ns(), chunk))
        except BaseException as error:  # everything, because nobody else watches this thread; raised in the other one
            waiting.put(error)
        else:
            waiting.put(None)


class _Namer:
    """Windows -> embeddings with the names of what they are like."""

    def __init__(self, bundle: Embedder | Bundle, bank: LabelBank | None, detector: Detector | None = None) -> None:
        self._bundle = bundle
        self._detector = detector
        self._bank = bundle.labels if bank is None else bank
        self._sensor = bundle.manifest.modality
        self._scale = bundle.manifest.logit_scale

    def __call__(self, windows: Sequence[tuple[int, Window]]) -> list[Embedding]:
        """Embeddings of some (arrival, window)."""
        vectors = self._bundle.embed([window for _, window in windows])
        shares = self._bank.probabilities(vectors, self._scale).tolist()
        drifts = self._drifts(windows, vectors)
        now, prompts, sensor = time.monotonic_ns(), self._bank.prompts, self._sensor
        return [
            Embedding(
                window.start_ns,
                window.stop_ns,
                vector,
                window.quality,
                dict(zip(prompts, share, strict=True)),
                (now - arrived) / 1e6,
                sensor,
                window.origin,
                drift,
            )
            for (arrived, window), vector, share, drift in zip(windows, vectors, shares, drifts, strict=True)
        ]

    def _drifts(self, windows: Sequence[tuple[int, Window]], vectors: Floats) -> list[Drift | None]:
        if self._detector is None:
            return [None] * len(windows)
        return [
            self._detector.update(window.samples, vector) for (_, window), vector in zip(windows, vectors, strict=True)
        ]


def embed_recording(
    bundle: Embedder | Bundle,
    source: Source,
    *,
    batch: int = EMBED_BATCH,
    bank: LabelBank | None = None,
    detector: Detector | None = None,
) -> Iterator[Embedding]:
    """Every window of a recording, or every frame, in order; nothing runs beside it.

    Parameters
    ----------
    batch: most windows embedded in one call.
    detector: looks whether the sensor still is as it was calibrated; None looks at nothing.

    Raises
    ------
    RecordingError: samples that cannot be read or cannot be true.
    BackendError: the encoder cannot be run.
    """
    from edgebind.window import make_windower

    windower = make_windower(bundle.manifest.window, bundle.manifest.modality, every_frame=True)
    name = _Namer(bundle, bank, detector)
    waiting: list[tuple[int, Window]] = []
    with source:
        for chunk in source:
            arrived = time.monotonic_ns()
            waiting += [(arrived, window) for window in windower.push(chunk)]
            while len(waiting) >= batch:
                yield from name(waiting[:batch])
                del waiting[:batch]
        waiting += [(time.monotonic_ns(), window) for window in windower.finish()]
        while waiting:
            yield from name(waiting[:batch])
            del waiting[:batch]
