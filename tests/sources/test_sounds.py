"""Sound files as sources: WAV written by the standard library, Ogg through PyAV."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import resample_poly

from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import Chunk, Floats
from edgebind.sources.file import open_recording

SPEC = WindowSpec(16000.0, 2.0, 1.0, ("pressure",), ("full scale",))


def write(path: Path, samples: Floats, rate: int = 16000) -> Path:
    """`samples` (n, channels) as 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32768).astype("<i2").tobytes())
    return path


def read(path: Path, rate: float | None = None) -> Chunk:
    with open_recording(path, "audio", SPEC, rate_hz=rate) as source:
        chunks = list(source)
        assert source.modality == "audio"
    assert max(len(chunk) for chunk in chunks) == 320  # 20 ms
    return Chunk(np.concatenate([c.times for c in chunks]), np.concatenate([c.samples for c in chunks]), source.name)


def tones(rate: int, channels: int = 2, seconds: float = 0.5) -> Floats:
    times = np.arange(round(rate * seconds)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * 440 * (1 + c) * times) for c in range(channels)], axis=1).astype(
        np.float32
    )


def test_a_sound_of_the_bundles_rate_comes_as_it_is(tmp_path: Path) -> None:
    samples = np.rint(tones(16000) * 32768).astype(np.float32) / np.float32(32768)
    found = read(write(tmp_path / "x.wav", samples), rate=16000)
    np.testing.assert_array_equal(found.samples, samples)
    assert found.times[0] == 0 and found.times[16] == 1_000_000 and len(found) == 8000


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    found = read(write(tmp_path / "x.wav", tones(rate), rate))
    expected = resample_poly(tones(rate).astype(np.float64), 16000, rate)
    assert found.samples.shape == expected.shape == (8000, 2)
    inner = slice(400, -400)  # the two filters end differently
    np.testing.assert_allclose(found.samples[inner], expected[inner], atol=5e-3)


def test_real_sounds_in_ogg(shared: Path) -> None:
    pytest.importorskip("av")
    found = read(next((shared / "data" / "audio_esc10" / "Rooster").glob("*.ogg")))
    assert abs(len(found) / 16000 - 5) < 0.1
    assert found.samples.shape[1] == 1 and 0.01 < np.abs(found.samples).max() < 1.5


@pytest.mark.parametrize("name", ["x.wav", "x.ogg", "x.mp3", "x.flac"])
def test_a_file_that_is_no_sound_is_one_line(tmp_path: Path, name: str) -> None:
    pytest.importorskip("av")
    (tmp_path / name).write_text("no sound at all, but words and words")
    with pytest.raises(RecordingError, match=f"{name}: (is no sound|sound is empty)") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_sound_knows_its_rate(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"x\.wav: --rate contradicts.*wanted 16000 Hz, got 8000 Hz.*leave --rate out"
    ):
        read(write(tmp_path / "x.wav", tones(16000)), rate=8000)


def test_a_sound_of_no_numbers_names_its_file(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "x.wav", 44100, np.full(1000, np.nan, np.float32))
    with pytest.raises(RecordingError, match=r"x\.wav: sound holds NaN"):
        read(tmp_path / "x.wav")


@pytest.mark.parametrize("name", ["x.npz", "x.csv", "x.txt", "folder"])
def test_what_no_audio_bundle_reads(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    if name != "folder":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(RecordingError, match=r"not a recording of audio.*WAV, Ogg, FLAC or MP3"):
        read(tmp_path / name)
