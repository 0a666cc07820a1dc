"""Sounds, pictures and tables for trees in a data set's layout, and what every opened data set must hold to."""

from __future__ import annotations

import csv
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind import preprocess
from edgebind.evaluate.dataset import Classification, Clip


def table(path: Path, titles: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows([titles, *rows] if titles else rows)
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


def loudest_hertz(samples: NDArray[np.float32], rate: int) -> float:
    """The frequency with the most power in the first channel of (channels, n)."""
    power = np.abs(np.fft.rfft(samples[0]))
    return float(np.argmax(power) * rate / samples.shape[1])


def goes_through(clip: Clip, modality: str) -> NDArray[np.generic]:
    """The model input of a clip: the modality's own preprocessor must take what the clip loads."""
    loaded = clip.load()
    ready = preprocess.for_imagebind(modality)(loaded)  # type: ignore[arg-type]
    assert ready.shape == modalities.get(modality).input_shape
    assert str(ready.dtype) == modalities.get(modality).input_dtype
    return ready


def holds_together(task: Classification) -> None:
    """What any classification must be, whatever its data set."""
    assert len(task.clips) == len(task.targets) > 0
    assert len(task.classes) == len(task.prompts)
    assert len(set(task.classes)) == len(task.classes)
    assert all(0 <= target < len(task.classes) for targets in task.targets for target in targets)
    assert all(targets for targets in task.targets)
    assert all(prompts and all("{" not in text for text in prompts) for prompts in task.prompts)
    assert len({clip.name for clip in task.clips}) == len(task.clips)
    assert not task.groups or len(task.groups) == len(task.clips)
    assert not any(Path(clip.name).is_absolute() for clip in task.clips)
