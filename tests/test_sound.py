"""Windows of sound: whole samples, every channel, and what becomes of short and torn sounds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from edgebind import preprocess
from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Chunk, Floats, Window
from edgebind.sound import SoundWindower
from edgebind.sources.file import open_recording
from edgebind.window import make_windower

SPEC = WindowSpec(1000.0, 2.0, 0.5, ("pressure",), ("full scale",))  # 2000 samples, every 500


def noise(count: int, channels: int = 1) -> Floats:
    return np.random.default_rng(0).normal(0, 0.1, (count, channels)).astype(np.float32)


def chunk(samples: Floats, first: int = 0, rate_hz: float = 1000.0) -> Chunk:
    times = np.round((first + np.arange(len(samples))) * NANOSECONDS / rate_hz).astype(np.int64)
    return Chunk(times, samples, "dog.wav")


def cut(samples: Floats, edges: tuple[int, ...], spec: WindowSpec = SPEC) -> tuple[list[Window], SoundWindower]:
    windower = SoundWindower(spec)
    found: list[Window] = []
    for begin, end in itertools.pairwise((0, *edges, len(samples))):
        found += windower.push(chunk(samples[begin:end], begin))
    return found + windower.finish(), windower


@pytest.mark.parametrize("edges", [(), (1, 2, 3), (1999, 2000, 2001), tuple(range(20, 3400, 20))])
def test_windows_are_whole_samples_however_the_sound_arrives(edges: tuple[int, ...]) -> None:
    # sound      ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~   3.4 s
    # windows    [-------------------)
    #                 [-------------------)
    #                      [-------------------)      the next would end at 3.5 s
    samples = noise(3400, channels=2)
    found, windower = cut(samples, edges)
    assert [w.start_ns for w in found] == [0, 500_000_000, 1_000_000_000]
    assert [w.stop_ns for w in found] == [2_000_000_000, 2_500_000_000, 3_000_000_000]
    for number, window in enumerate(found):
        np.testing.assert_array_equal(window.samples, samples[number * 500 : number * 500 + 2000].T)
        assert window.quality.coverage == 1.0 and window.origin == "dog.wav"
    assert (windower.counters.samples, windower.counters.windows) == (3400, 3)


@pytest.mark.parametrize("edges", [(), tuple(range(20, 9000, 20))])
def test_a_hop_longer_than_a_window_leaves_sound_out(edges: tuple[int, ...]) -> None:
    spec = WindowSpec(1000.0, 1.0, 2.5, ("pressure",), ("full scale",))
    samples = noise(9000)
    found, _ = cut(samples, edges, spec)
    assert [w.start_ns // 1_000_000 for w in found] == [0, 2500, 5000, 7500]
    np.testing.assert_array_equal(found[-1].samples, samples[7500:8500].T)


def test_a_short_sound_is_a_window_of_its_own() -> None:
    samples = noise(300)
    (window,), _ = cut(samples, (100,))
    assert (window.start_ns, window.stop_ns) == (0, 2_000_000_000)
    assert window.quality.coverage == 0.15
    np.testing.assert_array_equal(window.samples, samples.T)


def test_after_a_dropout_the_windows_begin_anew() -> None:
    samples = noise(5000)
    windower = SoundWindower(SPEC)
    assert windower.push(chunk(samples[:1500])) == []
    found = windower.push(chunk(samples[1600:3700], 1600)) + windower.finish()
    assert [w.start_ns // 1_000_000 for w in found] == [1600]
    np.testing.assert_array_equal(found[0].samples, samples[1600:3600].T)
    assert windower.counters.restarts == 1


def test_the_rest_after_a_dropout_is_no_short_sound() -> None:
    windower = SoundWindower(SPEC)
    windower.push(chunk(noise(1500)))
    windower.push(chunk(noise(300), 1600))
    assert windower.finish() == []


def test_two_sounds_one_after_the_other() -> None:
    windower = SoundWindower(SPEC)
    for _ in range(2):
        assert len(windower.push(chunk(noise(2100)))) == 1
        assert windower.finish() == []


def test_clipping_shows() -> None:
    samples = noise(2000)
    samples[100:150] = 1.0
    (window,), _ = cut(samples, ())
    assert window.quality.saturated == 0.025


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (Chunk(np.arange(3), np.zeros((3, 0), np.float32), "x.wav"), "x.wav: no sound"),
        (Chunk(np.arange(3), np.zeros(3, np.float32), "x.wav"), "no sound"),
        (Chunk(np.arange(4), np.zeros((3, 1), np.float32), "x.wav"), "a time for each"),
        (chunk(noise(100), rate_hz=2000.0), r"another rate \(wanted 1000 Hz, got 2000 Hz"),
        (Chunk(np.zeros(3, np.int64), noise(3)), "another rate.*got inf Hz"),
        (chunk(noise(100, channels=2), 100), r"channels change \(wanted 1, got 2 channels"),
        (chunk(noise(100), -200), "time goes backwards"),
    ],
)
def test_what_is_no_sound_of_this_rate(bad: Chunk, expected: str) -> None:
    windower = SoundWindower(SPEC)
    windower.push(chunk(noise(100)))
    with pytest.raises(RecordingError, match=expected):
        windower.push(bad)


def test_the_dog_of_imagebind(shared: Path) -> None:
    """Its first clip is our first window: from the file to the log-mel as the reference model saw it."""
    expected = np.load(shared / "parity" / "audio_mel_dog.npz")["expected"][0]
    prepare = preprocess.for_imagebind("audio")
    spec = WindowSpec(16000.0, 2.0, 1.0, ("pressure",), ("full scale",))
    windower = make_windower(spec, "audio")
    found: list[Window] = []
    with open_recording(shared / "data" / "imagebind_assets" / "dog_audio.wav", "audio", spec) as source:
        for part in source:
            found += windower.push(part)
    np.testing.assert_allclose(prepare(found[0].samples)[0], expected, atol=1e-3)
