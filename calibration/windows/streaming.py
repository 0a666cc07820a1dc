"""Windows of recordings one after the other, read when they are asked for: any number of them in the memory of one.

Recordings -> chunks -> windows -> preprocessed inputs -> observers, and nothing is kept on the way but what a source holds of
its own file.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebind.calibration.batches import Batch
from edgebind.calibration.windows import finding, recordings
from edgebind.calibration.windows.recordings import Recording
from edgebind.errors import CalibrationError
from edgebind.manifest import Manifest
from edgebind.sources.units import Units


@dataclass(frozen=True, slots=True)
class Part:
    """What is wanted of one recording."""

    name: str
    """How reports call it."""
    path: Path
    places: Container[int] | None = None
    """Numbers of its windows, counted from 0; None wants all."""
    stop_ns: int | None = None
    """Windows that end later are left out."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """Windows of some recordings, each a batch of its own; they are read again at every iteration.

    Iterating raises
    ----------------
    CalibrationError: a recording of another kind, with values that are no numbers, or without a window that is wanted.
    RecordingError: a recording that cannot be read or cannot be true. Either names the recording.
    """

    parts: tuple[Part, ...]
    description: Manifest
    units: Units | None = None

    def __iter__(self) -> Iterator[Batch]:
        for part in self.parts:
            seen = 0
            for start, stop, values, traits in recordings.inputs(part.path, self.description, self.units, part.places):
                if part.stop_ns is not None and stop > part.stop_ns:
                    break
                seen += 1
                yield Batch(part.name, values[None], np.array([start]), traits[None])
            if not seen:
                raise CalibrationError("gives no window to calibrate on", where=part.path)


def whole(paths: Sequence[Path], description: Manifest, units: Units | None = None) -> Streamed:
    """All windows of all recordings among `paths`."""
    parts = tuple(Part(*found) for found in finding.named(paths, description.modality))
    return Streamed(parts, description, units)


def calibration_part(
    paths: Sequence[Path], read: Sequence[Recording], description: Manifest, units: Units | None = None
) -> Streamed:
    """All windows of what `recordings.split` calibrates on, where it keeps an even selection.

    Parameters
    ----------
    paths, read: what `recordings.read` was given, and what it returned.
    """
    found = finding.named(paths, description.modality)
    if len(found) == 1:
        stop, _ = recordings.cut(read[0].start_ns, read[0].stop_ns)
        return Streamed((Part(*found[0], stop_ns=stop),), description, units)
    held = recordings.held_out([name for name, _ in found])
    kept = tuple(Part(name, path) for place, (name, path) in enumerate(found) if place not in held)
    return Streamed(kept, description, units)
