"""A live sensor, or a replay -> one recording in a form that edgebind reads: NPZ of signals and frames, WAV of sound.

Samples wait in an unnamed file on the disk, so that an hour of frames takes no memory, and the recording appears whole at
the end: after the seconds that were asked for, at the source's own end, at Ctrl-C or before a fault.
"""

from __future__ import annotations

import itertools
import tempfile
import time
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import atomic
from edgebind import modality as modalities
from edgebind.errors import OptionError, RecordingError
from edgebind.signals import NANOSECONDS, Chunk
from edgebind.sources.base import Source

SUFFIXES = {"audio": ".wav"}
"""Modality -> kind of file; others are NPZ."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that was written."""

    path: Path
    samples: int
    """Or frames."""
    seconds: float
    """From the first to the last of them."""
    ended: BaseException | None = None
    """What cut it short, Ctrl-C or a fault of the source: to be raised once it is told what was kept."""


def record(source: Source, target: Path, *, seconds: float | None = None, rate_hz: float = 0.0) -> Recorded:
    """Record until `seconds` are over, the source ends, it has a fault, or Ctrl-C is pressed; then write what came.

    Parameters
    ----------
    target: the file, see `name_for`; where that is there by the end, another recorder's, one with a number behind its name.
    seconds: how long, by the source's own clock; None records until the source ends.
    rate_hz: of sound, for the head of its file.

    Raises
    ------
    RecordingError, KeyboardInterrupt: nothing came before it; nothing is written.
    StorageError: the disk is full or cannot be written.
    """
    atomic.make_folder(target.parent)
    with _Spool(target) as spool:
        ended: BaseException | None = None
        try:
            with source:
                for chunk in within(source, seconds):
                    spool.take(chunk)
        except (KeyboardInterrupt, RecordingError) as error:
            ended = error
        if not spool.count:
            raise ended or RecordingError("nothing came", where=source.name, wanted="at least one sample")
        return replace(spool.write(source.modality, rate_hz), ended=ended)


def within(source: Source, seconds: float | None) -> Iterator[Chunk]:
    """The chunks of the first `seconds` of a source's own time."""
    first: int | None = None
    for chunk in source:
        if seconds is not None and len(chunk):
            first = int(chunk.times[0]) if first is None else first
            stop = first + round(seconds * NANOSECONDS)
            if int(chunk.times[-1]) >= stop:
                count = int(chunk.times.searchsorted(stop))
                if count:
                    yield Chunk(chunk.times[:count], chunk.samples[:count], chunk.origin)
                return
        yield chunk


def name_for(folder: Path, modality: str, now: float | None = None) -> Path:
    """A file that is not there yet, called by the sensor and the time of day in UTC: imu-20260131T120000Z.npz.

    Raises
    ------
    OptionError: a modality of which there is nothing to record.
    """
    if modalities.get(modality).name == "text":
        raise OptionError("prompts are written, not recorded", wanted="a sensor", got=modality)
    stem = f"{modality}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
    return next(path for path in _names(folder / f"{stem}{SUFFIXES.get(modality, '.npz')}") if not path.exists())


def _names(path: Path) -> Iterator[Path]:
    """walk.npz, walk-2.npz, walk-3.npz, ..."""
    yield path
    yield from (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))


def _reserved(path: Path) -> Path:
    """The first of `_names` that is free, taken by an empty file before another recorder does."""
    with atomic.storage_errors(path):
        return next(name for name in _names(path) if _is_taken_by_us(name))


def _is_taken_by_us(name: Path) -> bool:
    try:
        name.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class _Spool:
    """Samples on their way to the file."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._times = array("q")
        self._shape: tuple[int, ...] | None = None
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        with atomic.storage_errors(target):
            self._stream = tempfile.TemporaryFile(dir=target.parent, prefix=f".{target.name}.")  # noqa: SIM115

    @property
    def count(self) -> int:
        return len(self._times)

    def take(self, chunk: Chunk) -> None:
        """Keep the samples of one chunk, whole or not at all."""
        if not len(chunk):
            return
        if self._shape is None:
            self._shape, self._dtype = chunk.samples.shape[1:], chunk.samples.dtype
        if chunk.samples.shape[1:] != self._shape:
            got = chunk.samples.shape[1:]
            raise RecordingError("samples change their size", where=chunk.origin, wanted=self._shape, got=got)
        with atomic.storage_errors(self._target):
            self._stream.write(np.ascontiguousarray(chunk.samples, self._dtype).tobytes())
        self._times.extend(chunk.times.tolist())

    def write(self, modality: str, rate_hz: float) -> Recorded:
        times, samples = self._view()
        target = _reserved(self._target)
        try:
            with atomic.file(target) as scratch:
                if modality == "audio":
                    _write_wave(scratch, samples, rate_hz)
                elif modalities.get(modality).is_camera:
                    np.savez_compressed(scratch, times=times, frames=samples)
                else:
                    np.savez_compressed(scratch, times=times, samples=samples)
        except BaseException:
            target.unlink(missing_ok=True)  # empty
            raise
        return Recorded(target, len(times), (int(times[-1]) - int(times[0])) / NANOSECONDS)

    def _view(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """(times, samples); a chunk that Ctrl-C cut in two is left out."""
        assert self._shape is not None
        self._stream.flush()
        shape = (len(self._times), *self._shape)
        samples = np.memmap(self._stream, self._dtype, mode="r", shape=shape)
        return np.array(self._times, np.int64), samples

    def __enter__(self) -> _Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _write_wave(path: Path, samples: NDArray[Any], rate_hz: float) -> None:
    """16-bit PCM of (n, channels) values from -1 to 1."""
    with open(path, "wb") as stream, wave.open(stream) as sound:
        sound.setnchannels(samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(round(rate_hz))
        for begin in range(0, len(samples), 1 << 20):
            part = np.clip(samples[begin : begin + (1 << 20)] * 32768.0, -32768, 32767)
            sound.writeframes(np.rint(part).astype("<i2").tobytes())
