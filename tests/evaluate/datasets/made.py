"""Sounds, pictures, videos and tables for trees in a data set's layout, and what everything opened must hold to."""

from __future__ import annotations

import csv
import wave
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgebind import modality as modalities
from edgebind import preprocess
from edgebind.evaluate.dataset import Classification, Clip, Pairing
from edgebind.preprocess.videos import MIDDLE, Video

# --- files ------------------------------------------------------------------------------------------------------------


def table(path: Path, titles: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ",") -> Path:
    """A CSV file; no line of titles where `titles` is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows([titles, *rows] if titles else rows)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def tone(hertz: float, seconds: float, rate: int) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def sound(path: Path, hertz: float = 440.0, seconds: float = 1.0, rate: int = 44100) -> Path:
    """A 16-bit WAV file with a tone of half the full scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone(hertz, seconds, rate) * 32767).astype("<i2").tobytes())
    return path


def picture(path: Path, pixels: NDArray[Any] | None = None) -> Path:
    """A picture of `pixels`; without them a grey one of 40 x 30."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8) if pixels is None else pixels).save(path)
    return path


FRAMES, FRAME_RATE = 20, 10


def video(path: Path, hertz: float | None = 440.0) -> Path:
    """Two seconds of 64 x 48, frame k at grey level 10 k, with a tone of `hertz` or without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=FRAME_RATE)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sounds = container.add_stream("aac", rate=16000) if hertz else None
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        if sounds is not None:
            samples = tone(hertz or 0.0, FRAMES / FRAME_RATE, 16000).astype(np.float32)[None]
            spoken = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            spoken.sample_rate, spoken.pts, spoken.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(sounds.encode(spoken))
            container.mux(sounds.encode())
    return path


# --- checks -----------------------------------------------------------------------------------------------------------


def loudest_hertz(samples: NDArray[np.float32], rate: int) -> float:
    """The frequency with the most power in the first channel of (channels, n)."""
    power = np.abs(np.fft.rfft(samples[0]))
    return float(np.argmax(power) * rate / samples.shape[1])


def array(clip: Clip) -> NDArray[Any]:
    """What the clip loads, which is no text; of a video the picture in its middle."""
    loaded = clip.load()
    if isinstance(loaded, Video):
        return loaded.read(MIDDLE)[0, 0]
    assert isinstance(loaded, np.ndarray)
    return loaded


def goes_through(clip: Clip, modality: str) -> NDArray[Any]:
    """The model input of a clip: the modality's own preprocessor must take what the clip loads."""
    loaded = clip.load()
    ready = preprocess.for_imagebind(modality)(array(clip) if isinstance(loaded, Video) else loaded)  # type: ignore[arg-type]
    assert ready.shape == modalities.get(modality).input_shape
    assert str(ready.dtype) == modalities.get(modality).input_dtype
    return ready


def holds_together(task: Classification) -> None:
    """What any classification must be, whatever its data set."""
    assert len(task.clips) == len(task.targets) > 0
    assert len(task.classes) == len(task.prompts) == len(set(task.classes))
    assert all(0 <= target < len(task.classes) for targets in task.targets for target in targets)
    assert all(targets for targets in task.targets)
    assert all(prompts and all(text.strip() and "{" not in text for text in prompts) for prompts in task.prompts)
    assert task.metric == "map" or all(len(targets) == 1 for targets in task.targets)
    assert not task.groups or len(task.groups) == len(task.clips)
    assert set(task.training) < set(range(len(task.clips)))
    _named(task.clips)


def belongs_together(pairing: Pairing) -> None:
    """What any pairing must be, whatever its data set."""
    assert {left for left, _ in pairing.pairs} == set(range(len(pairing.left)))
    assert {right for _, right in pairing.pairs} == set(range(len(pairing.right)))
    _named(pairing.left)
    _named(pairing.right)


def _named(clips: Sequence[Clip]) -> None:
    """Names are keys of a cache: one clip each, and the same wherever the data set lies."""
    assert len({clip.name for clip in clips}) == len(clips)
    assert not any(Path(clip.name).is_absolute() for clip in clips)
