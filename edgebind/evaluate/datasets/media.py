"""Sounds, pictures and videos of data sets -> physical units, as the preprocessors take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind.preprocess.audio import resample_windowed_sinc
from edgebind.preprocess.waves import read_wave

Floats = NDArray[np.float32]

RATE_HZ = round(modalities.get("audio").rate_hz)
"""Hertz, of every sound that is loaded."""


def sound(path: Path) -> Floats:
    """float32 (channels, n) at full scale ±1 and 16 kHz, of a sound or of a video's sound.

    Raises
    ------
    RecordingError: no such file, damaged, or without sound.
    MissingDependencyError: a format other than WAV, and PyAV is not installed.
    """
    wave, rate = read_wave(path)
    return resample_windowed_sinc(wave, rate, RATE_HZ)
