"""A file -> samples in physical units, whatever the sensor; and the memory that spares a second reading.

picture    as everywhere in edgebind: 8-bit, 16-bit counts, float
video      uint8 (clips, frames, height, width, 3) as the node's `video` says, or the picture in its middle; a `Video` that is
           not read yet where each draw takes another clip
sound      float32 (channels, n) at full scale and the tower's rate
.npy       samples as they are: (6, length) of an IMU in m/s² and rad/s, (height, width) of depth in metres
text       what the file says
"""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import modality as modalities
from edgebind.errors import RecordingError
from edgebind.preprocess import videos
from edgebind.preprocess.videos import MIDDLE, Sampling, Video
from edgebind.train.recipe import Node

KEPT_BYTES = 1 << 30
"""Decoded samples that stay in memory; what does not fit is read again each time."""


class Kept:
    """Samples that were read once, as far as there is room for them."""

    def __init__(self, room: int = KEPT_BYTES) -> None:
        self._room = room
        self._found: dict[Hashable, Any] = {}

    def load(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """What `read` gives, or gave before."""
        if key in self._found:
            return self._found[key]
        sample = read()
        size = sample.nbytes if isinstance(sample, np.ndarray) else 0
        if size <= self._room:
            self._room -= size
            self._found[key] = sample
        return sample


def load(path: Path, modality: str, video: Sampling = MIDDLE) -> Any:
    """One file -> samples in physical units; `video` says which frames stand for a video.

    Raises
    ------
    RecordingError: it cannot be read, or is nothing that this modality could be.
    MissingDependencyError: a format that needs PyAV, and PyAV is not installed.
    """
    if path.suffix == ".npy":
        return read_array(path, str(path))
    if modality == "audio":
        return _sound(path)
    if modality == "text":
        return path.read_text(encoding="utf-8")
    if modality == "vision" and path.suffix.lower() in videos.SUFFIXES:
        return Video(path) if video.random else videos.read(path, video)
    if modalities.get(modality).is_camera:
        from edgebind.preprocess.images import read_image

        return read_image(path)
    raise RecordingError("a file that this modality cannot be", where=path, wanted=f"a .npy of {modality}")


def as_judged(sample: Any, node: Node) -> Any:
    """A sample as it is judged: of a video that training sees at random moments the clip in its middle."""
    return sample.read(node.video) if isinstance(sample, Video) else sample


def require_window(sample: Any, node: Node, where: str) -> None:
    """Refuse motion that is not as long as the node's window; other sensors' preprocessing takes what comes.

    Raises
    ------
    RecordingError: names the item.
    """
    if node.modality != "imu" or not node.window:
        return
    rate, seconds = (float(node.window.get(name, 0)) for name in ("rate_hz", "seconds"))
    wanted = (6, round(rate * seconds))
    if np.shape(sample) != wanted:
        said = f"{wanted}: {seconds:g} s at {rate:g} Hz"
        raise RecordingError(
            "motion is not as long as its node's window", where=where, wanted=said, got=np.shape(sample)
        )


def _sound(path: Path) -> Any:
    from edgebind.preprocess import audio

    wave, rate = audio.read_wave(path)
    return audio.resample_windowed_sinc(wave, rate, round(modalities.get("audio").rate_hz))


def read_array(source: Path | io.BytesIO, where: str) -> Any:
    """A `.npy` of numbers.

    Raises
    ------
    RecordingError: it is none, or holds objects, which are never unpickled.
    """
    try:
        return np.load(source, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecordingError("is no array of numbers", where=where, wanted="a .npy without objects") from error
