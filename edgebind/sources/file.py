"""Recordings: the right reader for a path."""

from __future__ import annotations

from pathlib import Path

from edgebind import modality as modalities
from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.sources.arrays import ArraySource
from edgebind.sources.base import Source
from edgebind.sources.pictures import PictureSource, is_picture
from edgebind.sources.prompts import PromptSource, is_text
from edgebind.sources.sounds import SoundSource, is_sound
from edgebind.sources.table import TableSource
from edgebind.sources.units import KNOWN, OF_SENSOR, Units
from edgebind.sources.videos import MODALITIES, VideoSource, is_video

TABLES = (".csv", ".csv.gz", ".txt", ".txt.gz", ".tsv", ".tsv.gz")
_FRAMES = "NPZ, a folder of pictures or a picture"
_MOVING = "NPZ, a folder of pictures, a picture or a video"
KINDS = {
    "imu": "CSV, CSV.gz or NPZ",
    "thermal": _MOVING,
    "depth": _FRAMES,
    "vision": _MOVING,
    "audio": "WAV, Ogg, FLAC or MP3",
    "text": "TXT of one prompt a line",
}
"""Modality -> how people call its recordings."""


def open_recording(
    path: str | Path,
    modality: str,
    spec: WindowSpec,
    *,
    rate_hz: float | None = None,
    units: Units | None = None,
    chunk_seconds: float = 0.02,
) -> Source:
    """A source that replays the recording at `path` in its own order.

    A table (CSV, CSV.gz) or NPZ for a signal; NPZ, a folder of pictures, a single picture or (but for depth) a video
    for a camera; a sound file for audio; a text file of prompts for text.

    Parameters
    ----------
    spec: the bundle's window: channels, rate and length that the recording must be able to fill.
    rate_hz: samples or frames a second, where the recording does not say; of a video the most that are taken.
    units: what the user says about units; see `edgebind.sources.units.parse`.
    chunk_seconds: how much signal a chunk holds; the windows do not depend on it.

    Raises
    ------
    OptionError: an option that does not fit this kind of recording.
    RecordingError: nothing there, or of a kind that this sensor does not have. Faults inside come up while reading.
    """
    path = Path(path)
    sensor = modalities.get(modality)
    if rate_hz is not None and not 0 < rate_hz < 1e6:
        raise OptionError("--rate does not fit", wanted="above 0 Hz", got=rate_hz)
    if not path.exists():
        raise RecordingError("no such recording", where=path)
    is_table = modality == "imu" and path.name.lower().endswith(TABLES)
    if units is not None:
        _check_units(units, modality, path)
    if path.suffix.lower() == ".npz" and path.is_file() and "NPZ" in KINDS[modality]:
        return ArraySource(path, modality, spec, rate_hz=rate_hz, units=units, chunk_seconds=chunk_seconds)
    if sensor.is_camera and (path.is_dir() or is_picture(path)):
        return PictureSource(path, modality, rate_hz=rate_hz or spec.rate_hz, units=units)
    if modality in MODALITIES and is_video(path) and path.is_file():
        if units is not None:
            raise OptionError("--units is of measured values; a video has grey levels and colours", where=path)
        return VideoSource(path, modality, rate_hz=rate_hz)
    if is_table and path.is_file():
        return TableSource(path, spec, rate_hz=rate_hz, units=units, chunk_seconds=chunk_seconds)
    if modality == "audio" and is_sound(path) and path.is_file():
        return SoundSource(path, spec, rate_hz=rate_hz, chunk_seconds=chunk_seconds)
    if modality == "text" and is_text(path) and path.is_file():
        return PromptSource(path, rate_hz=rate_hz or spec.rate_hz)
    got = "a folder" if path.is_dir() else path.suffix or "no suffix"
    raise RecordingError(f"not a recording of {modality}", where=path, wanted=KINDS[modality], got=got)


def _check_units(units: Units, modality: str, path: Path) -> None:
    own = OF_SENSOR.get(modality, ())
    for quantity, unit in units.given.items():
        if quantity not in own:
            forms = [f"{name}={'|'.join(KNOWN[name])}" for name in own]
            raise OptionError(
                f"--units {quantity}={unit} is of another sensor",
                where=path,
                wanted=", ".join(forms) or "no --units",
                got=f"a recording of {modality}",
            )
