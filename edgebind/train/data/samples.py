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


def load(path: Path, modality: str, video: Sampling = MIDDLE, rate_hz: int | None = None) -> Any:
    """One file -> samples in physical units.

    Parameters
    ----------
    video: which frames stand for a video.
    rate_hz: of a sound; ImageBind's where nothing is said.

    Raises
    ------
    RecordingError: it cannot be read, or is nothing that this modality could be.
    MissingDependencyError: a format that needs PyAV, and PyAV is not installed.
    """
    if path.suffix == ".npy":
        return read_array(path, str(path))
    if modality == "audio":
        return _sound(path, rate_hz)
    if modality == "text":
        return path.read_text(encoding="utf-8")
    if _is_video(path, modality):
        return Video(path) if video.random else videos.read(path, video)
    if modalities.get(modality).is_camera:
        from edgebind.preprocess.images import read_image

        return read_image(path)
    raise RecordingError("a file that this modality cannot be", where=path, wanted=f"a .npy of {modality}")


def load_for(node: Node, path: Path) -> Any:
    """One file -> samples as a node's preprocessing takes them; raises as `load`."""
    return _physical(load(path, node.modality, node.video, rate_of(node)), node, str(path))


def decode(data: bytes, name: str, kind: str, node: Node) -> Any:
    """The bytes of a file of that name in a shard -> what `load_for` gives of the file; `kind` is its extension.

    Raises
    ------
    RecordingError, MissingDependencyError: as `load`.
    """
    path = Path(name)
    if kind == "npy":
        return read_array(io.BytesIO(data), name)
    if node.modality == "audio":
        return _sound(path, rate_of(node), data)
    if node.modality == "text":
        return data.decode("utf-8")
    if _is_video(Path(f"_.{kind}"), node.modality):
        return Video(path, data=data) if node.video.random else videos.read(path, node.video, data)
    if modalities.get(node.modality).is_camera:
        from edgebind.preprocess.images import decode_image

        return _physical(decode_image(data, name), node, name)
    raise RecordingError("a file that this modality cannot be", where=name, wanted=f"a .npy of {node.modality}")


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


def rate_of(node: Node) -> int:
    """Samples a second of a node's sound: what its preprocessing wants."""
    return int(node.preprocess.get("rate_hz", modalities.get("audio").rate_hz))


def _physical(sample: Any, node: Node, where: str) -> Any:
    """A camera's counts in the unit that the recipe names -> metres or °C."""
    if not node.units:
        return sample
    from edgebind.sources import frames, units

    return frames.to_physical(sample, node.modality, units.parse(f"{node.modality}={node.units}"), where)


def _is_video(path: Path, modality: str) -> bool:
    return modality == "vision" and path.suffix.lower() in videos.SUFFIXES


def _sound(path: Path, rate_hz: int | None, data: bytes | None = None) -> Any:
    from edgebind.preprocess import audio

    wave, rate = audio.read_wave(path, data)
    return audio.resample_windowed_sinc(wave, rate, rate_hz or round(modalities.get("audio").rate_hz))


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
