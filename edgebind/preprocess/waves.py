"""Sound files -> samples at full scale ±1. WAV is read here; every other format through PyAV, where it is installed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind import extras
from edgebind.errors import RecordingError

Floats = NDArray[np.float32]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE

# A writer that cannot seek (a pipe) leaves this as the length: read to the end.
_UNKNOWN_LENGTH = 0xFFFFFFFF


def read_wave(path: str | PathLike[str], data: bytes | None = None) -> tuple[Floats, int]:
    """The sound in the file at `path`: float32 (channels, n) at full scale ±1, and its rate in hertz.

    WAV with 8-, 16-, 24- or 32-bit PCM or 32- or 64-bit float needs nothing; other formats (Ogg, FLAC, MP3, video) need
    PyAV. PCM is divided by half its range, as torchaudio does: 16-bit by 32768.

    Parameters
    ----------
    data: what would be in the file, where it lies in an archive; `path` then only says its name.

    Raises
    ------
    RecordingError: no such file, no sound, cut off, or without samples.
    MissingDependencyError: a format other than WAV, and PyAV is not installed.
    """
    path = Path(path)
    try:
        data = path.read_bytes() if data is None else data
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
    wave = _read_riff(data, path) if data[:4] == b"RIFF" and data[8:12] == b"WAVE" else None
    samples, rate = wave if wave is not None else _read_with_pyav(data, path)
    if samples.size == 0:
        raise RecordingError("sound is empty", where=path, wanted="at least one sample", got=f"shape {samples.shape}")
    return samples, rate


@dataclass(frozen=True)
class _Format:
    tag: int
    channels: int
    rate: int
    """Hertz"""
    bits: int
    """Of one sample of one channel."""


def _read_riff(data: bytes, path: Path) -> tuple[Floats, int] | None:
    """The samples of a WAV file; None when they are compressed. Microsoft's RIFF: chunks of name, length, body."""
    form: _Format | None = None
    for name, start, length in _chunks(data):
        if name == b"fmt ":
            form = _read_format(data[start : start + length], path)
        elif name == b"data":
            if form is None:
                raise RecordingError("WAV file has no format before its data", where=path)
            return _read_data(data, start, length, form, path)
    raise RecordingError("WAV file is cut off", where=path, wanted="a data chunk", got=f"{len(data)} bytes without one")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the body and declared length of each chunk."""
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        yield name, position + 8, length
        position += 8 + length + length % 2


def _read_format(body: bytes, path: Path) -> _Format:
    if len(body) < 16:
        raise RecordingError("WAV format is cut off", where=path, wanted="16 bytes", got=len(body))
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack_from("<H", body, 24)[0]
    if channels < 1 or rate < 1:
        raise RecordingError("WAV format makes no sense", where=path, got=f"{channels} channels at {rate} Hz")
    return _Format(tag, channels, rate, bits)


def _read_data(data: bytes, start: int, length: int, form: _Format, path: Path) -> tuple[Floats, int] | None:
    decode = _DECODERS.get((form.tag, form.bits))
    if decode is None:
        return None
    if length == _UNKNOWN_LENGTH:
        length = len(data) - start
    if start + length > len(data):
        raise RecordingError("WAV file is cut off", where=path, wanted=f"{length} bytes", got=len(data) - start)
    # A writer that was killed may leave half a sample behind.
    whole = length - length % (form.channels * form.bits // 8)
    samples = decode(data[start : start + whole]).reshape(-1, form.channels)
    return np.ascontiguousarray(samples.T), form.rate


def _decode_24(body: bytes) -> Floats:
    # Little-endian 24 bits become the upper three bytes of 32: the sign comes along.
    wide = np.zeros((len(body) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
    return _decode_32(wide.tobytes())


def _decode_32(body: bytes) -> Floats:
    return (np.frombuffer(body, "<i4") / 2.0**31).astype(np.float32)


_DECODERS: dict[tuple[int, int], Callable[[bytes], Floats]] = {
    (_PCM, 8): lambda body: (np.frombuffer(body, np.uint8).astype(np.float32) - 128) / np.float32(128),
    (_PCM, 16): lambda body: np.frombuffer(body, "<i2").astype(np.float32) / np.float32(32768),
    (_PCM, 24): _decode_24,
    (_PCM, 32): _decode_32,
    (_FLOAT, 32): lambda body: np.frombuffer(body, "<f4").astype(np.float32),
    (_FLOAT, 64): lambda body: np.frombuffer(body, "<f8").astype(np.float32),
}


def _read_with_pyav(data: bytes, path: Path) -> tuple[Floats, int]:
    av = extras.pyav("sounds other than PCM WAV")
    try:
        # The bytes rather than the name: FFmpeg takes a name with a colon for a protocol.
        with av.open(BytesIO(data)) as container:
            if not container.streams.audio:
                raise RecordingError("holds no sound", where=path, wanted="an audio stream")
            stream = container.streams.audio[0]
            planar = av.AudioResampler(format="fltp")
            frames = [part for frame in (*container.decode(stream), None) for part in planar.resample(frame)]
            pieces = [frame.to_ndarray() for frame in frames]
            return np.concatenate(pieces or [np.zeros((1, 0), np.float32)], axis=1), int(stream.rate)
    except (av.FFmpegError, ValueError) as error:
        raise RecordingError(f"is no sound, or damaged: {error}", where=path, wanted="WAV, Ogg, FLAC or MP3") from error
