"""Pictures of a camera: a folder of them, in the natural order of their names, or a single file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgebind.closing import Closing
from edgebind.errors import RecordingError
from edgebind.signals import Chunk
from edgebind.sources.cutting import even_times
from edgebind.sources.frames import to_physical
from edgebind.sources.units import Units

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm", ".pgm.gz")
"""Of files that are taken for pictures in a folder; others are left alone."""

_DIGITS = re.compile(r"(\d+)")


class PictureSource(Closing):
    """Frames that lie in files; frame k is at k / rate."""

    def __init__(self, path: Path, modality: str, *, rate_hz: float, units: Units | None = None) -> None:
        """Replay the folder or file `path` at `rate_hz` frames a second; `units` says what its values are."""
        self.path = path
        self.name = str(path)
        self.modality = modality
        self._rate = rate_hz
        self._units = units or Units()

    def __iter__(self) -> Iterator[Chunk]:
        from edgebind.preprocess.images import read_image

        files = pictures_in(self.path) if self.path.is_dir() else [self.path]
        for time, file in zip(even_times(0, len(files), self._rate), files, strict=True):
            frame = to_physical(read_image(file), self.modality, self._units, str(file))
            yield Chunk(np.array([time]), frame[None], str(file))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the natural order of their names: frame_9 before frame_10.

    Raises
    ------
    RecordingError: there are none.
    """
    found = [path for path in folder.iterdir() if is_picture(path) and path.is_file()]
    if not found:
        raise RecordingError("no pictures in this folder", where=folder, wanted=", ".join(SUFFIXES))
    return sorted(found, key=_natural)


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(path.name.lower())]
