"""WAV files written by the standard library and by scipy, read by edgebind."""

from __future__ import annotations

import re
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from edgebind import extras
from edgebind.errors import MissingDependencyError, RecordingError
from edgebind.preprocess import waves

SOUND = np.clip(np.random.default_rng(0).normal(0, 0.3, (500, 2)), -1, 0.999)


def write_pcm(path: Path, data: bytes, width: int, channels: int = 2, rate: int = 16000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)


@pytest.mark.parametrize(("width", "tolerance"), [(1, 1 / 127), (2, 1 / 32767), (3, 1e-6), (4, 1e-7)])
def test_pcm_of_every_width(tmp_path: Path, width: int, tolerance: float) -> None:
    counts = np.rint(SOUND * 2.0 ** (8 * width - 1)).astype(np.int64)
    if width == 1:
        counts += 128
    data = b"".join(int(count).to_bytes(width, "little", signed=width > 1) for count in counts.ravel())
    write_pcm(tmp_path / "x.wav", data, width)
    samples, rate = waves.read_wave(tmp_path / "x.wav")
    assert samples.dtype == np.float32
    assert (samples.shape, rate) == ((2, 500), 16000)
    np.testing.assert_allclose(samples, SOUND.T, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_files(tmp_path: Path, dtype: type) -> None:
    wavfile.write(tmp_path / "x.wav", 44100, SOUND.astype(dtype))
    samples, rate = waves.read_wave(tmp_path / "x.wav")
    assert rate == 44100
    np.testing.assert_array_equal(samples, SOUND.T.astype(np.float32))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


FORMAT = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)


def test_extensible_format_and_foreign_chunks(tmp_path: Path) -> None:
    extensible = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4) + struct.pack("<H", 1) + bytes(14)
    data = riff(
        (b"LIST", b"odd"), (b"fmt ", extensible), (b"fact", bytes(4)), (b"data", struct.pack("<2h", 16384, -32768))
    )
    (tmp_path / "x.wav").write_bytes(data)
    samples, rate = waves.read_wave(tmp_path / "x.wav")
    assert (samples.tolist(), rate) == ([[0.5, -1.0]], 8000)


def test_length_left_open_by_a_pipe(tmp_path: Path) -> None:
    data = riff((b"fmt ", FORMAT)) + b"data" + struct.pack("<I", 0xFFFFFFFF) + struct.pack("<3h", 0, 16384, 8192)
    (tmp_path / "x.wav").write_bytes(data)
    assert waves.read_wave(tmp_path / "x.wav")[0].tolist() == [[0.0, 0.5, 0.25]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (riff((b"fmt ", FORMAT)) + b"data" + struct.pack("<I", 100) + bytes(40), "wanted 100 bytes, got 40"),
        (riff((b"fmt ", FORMAT)), "wanted a data chunk"),
        (riff((b"data", bytes(8))), "no format before its data"),
        (riff((b"fmt ", FORMAT[:10]), (b"data", bytes(8))), "wanted 16 bytes, got 10"),
        (riff((b"fmt ", struct.pack("<HHIIHH", 1, 0, 8000, 0, 0, 16)), (b"data", bytes(8))), "makes no sense"),
        (riff((b"fmt ", FORMAT), (b"data", b"")), "is empty"),
    ],
)
def test_broken_wav_files_get_one_line(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    with pytest.raises(RecordingError) as caught:
        waves.read_wave(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        waves.read_wave(tmp_path / "absent.wav")


def test_ogg_through_pyav(shared: Path) -> None:
    pytest.importorskip("av")
    path = next((shared / "data/audio_esc10/Dog_bark").glob("*.ogg"))
    samples, rate = waves.read_wave(path)
    assert rate == 44100
    assert samples.shape[0] == 1
    assert abs(samples.shape[1] - 5 * 44100) < 3000
    assert 0.01 < np.abs(samples).max() <= 1.5


@pytest.mark.parametrize("data", [b"", b"no sound at all", bytes(5000)])
def test_other_files_are_no_sound(tmp_path: Path, data: bytes) -> None:
    pytest.importorskip("av")
    path = tmp_path / "concat:x.ogg"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="is no sound"):
        waves.read_wave(path)


def test_a_picture_has_no_sound(shared: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(RecordingError):
        waves.read_wave(shared / "data/imagebind_assets/dog_image.jpg")


def test_without_pyav_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "x.ogg").write_bytes(b"OggS")
    with pytest.raises(MissingDependencyError, match=re.escape(extras.remedy("audio"))):
        waves.read_wave(tmp_path / "x.ogg")
