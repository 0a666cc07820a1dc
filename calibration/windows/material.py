"""What INT8 is calibrated and judged on: the windows of recordings, shared out, or those that a calibration set draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgebind.calibration.batches import Batch, Material
from edgebind.calibration.windows import collecting, finding, recordings, sets, streaming
from edgebind.calibration.windows.collecting import Opened
from edgebind.calibration.windows.recordings import MOST, thin
from edgebind.calibration.windows.sets import CalibrationSet
from edgebind.calibration.windows.streaming import Part, Streamed
from edgebind.errors import CalibrationError, OptionError
from edgebind.manifest import Manifest
from edgebind.sources.units import Units


def sets_among(paths: Sequence[Path]) -> list[tuple[Path, CalibrationSet]]:
    """Those of a user's paths that are calibration sets, read but not looked into.

    Raises
    ------
    OptionError: some are sets, others are not.
    CalibrationError: a file that is no set.
    """
    files = [sets.file_of(path) for path in paths]
    if any(files) and not all(files):
        plain = next(path for path, file in zip(paths, files, strict=True) if file is None)
        raise OptionError("recordings beside a calibration set", where=plain, remedy="collect them into the set")
    return [(file, sets.read(file)) for file in files if file is not None]


def of_recordings(
    paths: Sequence[Path],
    description: Manifest,
    among: Sequence[str] = (),
    units: Units | None = None,
    *,
    every_window: bool = False,
) -> Material:
    """A user's recordings or sets, as the encoder of `description` reads them.

    Parameters
    ----------
    among: all modalities that the paths are for.
    every_window: take ranges from all windows that calibrate, read one by one, not from an even selection.

    Raises
    ------
    CalibrationError: nothing of this modality, a recording of a set that has changed, or one that a diagnosis refuses.
    RecordingError: a recording that cannot be read or cannot be true.
    """
    found = sets_among(paths)
    if found:
        return _of_sets(found, description, every_window=every_window)
    paths = finding.fitting(paths, description.modality, among)
    read = recordings.read(paths, description, units)
    calibration, held_out = recordings.split(read)
    observed = streaming.calibration_part(paths, read, description, units) if every_window else None
    return Material(calibration, held_out, observed)


def set_of(modality: str, found: Sequence[tuple[Path, CalibrationSet]]) -> Path:
    """The file of the one set that a tower is calibrated on.

    Raises
    ------
    CalibrationError: there is none, or there are several.
    """
    own = [file for file, each in found if each.modality == modality]
    if len(own) != 1:
        raise CalibrationError(
            f"{len(own) or 'no'} calibration sets of {modality}",
            where=found[0][0],
            wanted="one for each tower",
            remedy="export one --modality at a time",
        )
    return own[0]


def _of_sets(found: Sequence[tuple[Path, CalibrationSet]], description: Manifest, *, every_window: bool) -> Material:
    file = set_of(description.modality, found)
    opened = collecting.open_set(file, description.window)
    require_sound(opened, file)
    places = [np.flatnonzero(each.calibrates) for each in opened.looked] if every_window else collecting.drawn(opened)
    observed = _streamed(opened, file, places, description)
    judges = [np.flatnonzero(each.judges) for each in opened.looked]
    held_out = _streamed(opened, file, judges, description)
    return Material(_held(observed), _held(held_out), observed, {"calibration_set": _facts(opened, file, places)})


def require_sound(opened: Opened, file: Path) -> None:
    """Refuse a set whose diagnosis has errors.

    Raises
    ------
    CalibrationError: the first of them, and how many there are.
    """
    if opened.errors:
        first, several = opened.errors[0], len(opened.errors) > 1
        raise CalibrationError(
            f"{len(opened.errors)} error{'s' * several} in this calibration set: {first.where} {first.line}",
            where=file,
            remedy="see `edgebind calibrate check`",
        )


def _streamed(opened: Opened, file: Path, places: Sequence[np.ndarray], description: Manifest) -> Streamed:
    parts = [
        Part(each.scan.name, sets.place_of(member, file), frozenset(own.tolist()))
        for member, each, own in zip(opened.set.recordings, opened.looked, places, strict=True)
        if len(own)
    ]
    return Streamed(tuple(parts), description, opened.set.said())


def _held(windows: Streamed) -> list[Batch]:
    """At most `MOST` of them in memory, those of a recording together."""
    kept: dict[str, list[Batch]] = {}
    for batch in thin(windows, MOST):
        kept.setdefault(batch.recording, []).append(batch)
    return [Batch.together(batches) for batches in kept.values()]


def _facts(opened: Opened, file: Path, places: Sequence[np.ndarray]) -> dict[str, Any]:
    kinds = collecting.strata_drawn(opened, places)
    return {
        "file": file.name,
        "sha256": opened.set.digest,
        "seed": opened.set.draw.seed,
        "windows": sum(drawn for drawn, _ in kinds.values()),
        "of": sum(of for _, of in kinds.values()),
        "strata": {title: {"drawn": drawn, "windows": of} for title, (drawn, of) in kinds.items()},
        "recordings": {each.scan.name: len(own) for each, own in zip(opened.looked, places, strict=True) if len(own)},
        "warnings": [f"{found.where} {found.line}".strip() for found in opened.findings],
    }
