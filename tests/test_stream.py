"""The stream as a whole: order, batches, live sources that are too fast, errors and their clean ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebind import bundle as bundles
from edgebind import stream as stream_module
from edgebind.bundle import Bundle
from edgebind.errors import OptionError, RecordingError, StorageError
from edgebind.frames import FrameWindower
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.signals import Chunk, Embedding, Floats, Window
from edgebind.stream import Counters, Stream, embed_recording
from edgebind.testing import ListSink, ListSource
from edgebind.window import Windower
from tests import bundles as tiny
from tests.recordings import stamps, still

SPEC = tiny.IMU.window  # 1 s at 10 Hz, every 0.5 s


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    with bundles.load(tiny.write(tmp_path / "imu")) as opened:
        yield opened


def chunks(count: int = 100, size: int = 3) -> list[Chunk]:
    times, samples = stamps(count, 10.0), still(count).astype(np.float32)
    return [Chunk(times[at : at + size], samples[at : at + size], "walk.csv") for at in range(0, count, size)]


class Counting:
    """A bundle that notes how many windows it is given at a time."""

    def __init__(self, bundle: Bundle) -> None:
        self.manifest, self.labels, self._bundle = bundle.manifest, bundle.labels, bundle
        self.batches: list[int] = []

    def embed(self, windows: Sequence[Window]) -> Floats:
        self.batches.append(len(windows))
        return self._bundle.embed(windows)


class FullSink(ListSink):
    """A sink whose disk is full after two embeddings."""

    def write(self, embedding: Embedding) -> None:
        if len(self.embeddings) == 2:
            raise StorageError("the disk is full")
        super().write(embedding)


@pytest.mark.parametrize("live", [False, True])
def test_every_window_reaches_every_sink_in_order(bundle: Bundle, live: bool) -> None:
    source, sinks = ListSource(chunks()), [ListSink(), ListSink()]
    counters = Stream(source, Windower(SPEC), bundle, sinks, live=live).run()
    starts = [e.start_ns for e in sinks[0].embeddings]
    assert starts == [at * 500_000_000 for at in range(19)] == [e.start_ns for e in sinks[1].embeddings]
    assert counters == Counters(chunks=34, windows=19, embedded=19)
    assert source.is_closed and all(sink.is_closed for sink in sinks)


def test_an_embedding_says_all_there_is_to_say(bundle: Bundle) -> None:
    sink = ListSink()
    Stream(ListSource(chunks()), Windower(SPEC), bundle, [sink]).run()
    one = sink.embeddings[0]
    assert (one.sensor, one.origin, one.stop_ns - one.start_ns) == ("imu", "walk.csv", 1_000_000_000)
    assert np.linalg.norm(one.vector) == pytest.approx(1, abs=1e-6)
    assert list(one.labels) == ["a", "b"]
    assert sum(one.labels.values()) == pytest.approx(1, abs=1e-5)
    assert one.quality.coverage == 1.0
    assert one.latency_ms > 0


def test_the_users_prompts_replace_the_bundles(bundle: Bundle) -> None:
    sink = ListSink()
    bank = LabelBank(("c",), np.eye(1, tiny.DIM, dtype=np.float32))
    Stream(ListSource(chunks()), Windower(SPEC), bundle, [sink], bank=bank).run()
    assert sink.embeddings[0].labels == {"c": 1.0}


def test_the_first_window_comes_alone_and_the_rest_in_batches(bundle: Bundle) -> None:
    counting = Counting(bundle)
    Stream(ListSource(chunks()), Windower(SPEC), counting, [ListSink()], batch=8).run()
    assert counting.batches == [1, 8, 8, 2]


def test_a_live_window_waits_for_no_other(bundle: Bundle) -> None:
    counting = Counting(bundle)
    Stream(ListSource(chunks()), Windower(SPEC), counting, [ListSink()], live=True).run()
    assert counting.batches == [1] * 19


def test_batches_change_nothing(bundle: Bundle) -> None:
    together, alone = ListSink(), ListSink()
    Stream(ListSource(chunks()), Windower(SPEC), bundle, [together], batch=16).run()
    Stream(ListSource(chunks()), Windower(SPEC), bundle, [alone], batch=1).run()
    for one, other in zip(together.embeddings, alone.embeddings, strict=True):
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_duration_is_the_signals_own_time(bundle: Bundle, size: int) -> None:
    sink = ListSink()
    Stream(ListSource(chunks(size=size)), Windower(SPEC), bundle, [sink], duration_s=2.0).run()
    assert [e.start_ns // 500_000_000 for e in sink.embeddings] == [0, 1, 2]


def test_a_slow_encoder_loses_the_oldest_chunks_of_a_live_source(bundle: Bundle) -> None:
    # source   ccc|cccccccccccccccccc             the encoder holds the first window until all was sent
    # queue       |            cccccc             the newest stay
    sent = threading.Event()

    class Source(ListSource):
        def __iter__(self) -> Iterator[Chunk]:
            yield from self.chunks
            sent.set()

    class Slow(Counting):
        def embed(self, windows: Sequence[Window]) -> Floats:
            sent.wait()
            return super().embed(windows)

    sink = ListSink()
    stream = Stream(Source(chunks(300)), Windower(SPEC), Slow(bundle), [sink], live=True, queue_chunks=20)
    counters = stream.run()
    assert counters.lost_chunks > 0
    assert counters.chunks + counters.lost_chunks == 100
    assert sink.embeddings[-1].stop_ns == 30_000_000_000
    assert "chunks lost" in str(counters)


@pytest.mark.parametrize("live", [False, True])
def test_a_fault_in_the_source_keeps_what_came_before(bundle: Bundle, live: bool) -> None:
    class Broken(ListSource):
        def __iter__(self) -> Iterator[Chunk]:
            yield from self.chunks
            raise RecordingError("time goes backwards")

    source, sink = Broken(chunks()), ListSink()
    stream = Stream(source, Windower(SPEC), bundle, [sink], live=live, batch=4)
    with pytest.raises(RecordingError, match="time goes backwards"):
        stream.run()
    assert len(sink.embeddings) == stream.counters.embedded == 19
    assert source.is_closed and sink.is_closed


def test_a_full_disk_ends_the_stream(bundle: Bundle) -> None:
    source, full, other = ListSource(chunks()), FullSink(), ListSink()
    with pytest.raises(StorageError):
        Stream(source, Windower(SPEC), bundle, [full, other]).run()
    assert source.is_closed and full.is_closed and other.is_closed


def test_ctrl_c_closes_everything(bundle: Bundle) -> None:
    class Interrupting(ListSink):
        def write(self, embedding: Embedding) -> None:
            super().write(embedding)
            raise KeyboardInterrupt

    source, sink = ListSource(chunks()), Interrupting()
    stream = Stream(source, Windower(SPEC), bundle, [sink], live=True)
    with pytest.raises(KeyboardInterrupt):
        stream.run()
    assert len(sink.embeddings) == 1
    assert source.is_closed and sink.is_closed


def test_the_reader_has_ended_before_its_source_is_closed(bundle: Bundle) -> None:
    readers: list[threading.Thread] = []
    alive: list[bool] = []
    failed = threading.Event()

    class Endless(ListSource):
        def __iter__(self) -> Iterator[Chunk]:
            readers.append(threading.current_thread())
            yield from self.chunks
            failed.wait()
            while True:
                yield self.chunks[-1]

        def close(self) -> None:
            alive.extend(reader.is_alive() for reader in readers)

    class Failing(ListSink):
        def write(self, embedding: Embedding) -> None:
            failed.set()
            raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        Stream(Endless(chunks()), Windower(SPEC), bundle, [Failing()], live=True).run()
    assert alive == [False]


def test_a_silent_sensor_does_not_hold_the_end_up(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    # source   cccc|.................. blocks     the sink stops the stream at the first window
    monkeypatch.setattr(stream_module, "PATIENCE_S", 0.01)
    wake = threading.Event()

    class Silent(ListSource):
        def __iter__(self) -> Iterator[Chunk]:
            yield from self.chunks
            wake.wait()

    source = Silent(chunks())
    try:
        with pytest.raises(StorageError):
            Stream(source, Windower(SPEC), bundle, [FullSink()], live=True).run()
        assert source.is_closed
    finally:
        wake.set()


def test_dropped_windows_are_counted(bundle: Bundle) -> None:
    times, samples = stamps(100, 10.0), still(100).astype(np.float32)
    keep = np.r_[0:20, 29:100]
    stream = Stream(ListSource([Chunk(times[keep], samples[keep])]), Windower(SPEC), bundle, [ListSink()])
    counters = stream.run()
    assert counters.dropped_windows > 0
    assert "dropped" in str(counters)


def test_a_stream_needs_room(bundle: Bundle) -> None:
    with pytest.raises(OptionError, match="needs room"):
        Stream(ListSource([]), Windower(SPEC), bundle, [], batch=0)


def test_a_recording_is_embedded_in_batches(bundle: Bundle) -> None:
    counting = Counting(bundle)
    found = list(embed_recording(counting, ListSource(chunks()), batch=8))
    assert counting.batches == [8, 8, 3]
    assert [e.start_ns for e in found] == [at * 500_000_000 for at in range(19)]


def test_every_frame_of_a_recording_is_embedded(tmp_path: Path) -> None:
    camera = replace(
        tiny.IMU,
        modality="thermal",
        window=WindowSpec(8.0, 0.125, 0.125, ("intensity",), ("grey level",)),
        preprocess={"kind": "thermal", "size": 8},
    )
    folder = tmp_path / "thermal"
    bundles.write(folder, camera, {bundles.ENCODER: tiny.encoder((1, 8, 8))})
    frames = Chunk(stamps(6, 30.0), np.random.default_rng(0).integers(1, 255, (6, 10, 12), np.uint8))
    with bundles.load(folder) as opened:
        found = list(embed_recording(opened, ListSource([frames], "thermal")))
        assert len(found) == 6
        sink = ListSink()
        Stream(ListSource([frames], "thermal"), FrameWindower(camera.window), opened, [sink]).run()
        assert len(sink.embeddings) == 2  # a live camera is thinned out to the bundle's hop
