"""Whether recordings give enough windows for INT8, told before an encoder is exported: of a large tower that takes minutes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from edgebind.calibration.quantise import LEAST_CALIBRATION, LEAST_GATE, require_windows
from edgebind.calibration.windows import finding, material, recordings, sets
from edgebind.calibration.windows.sets import BOTH, CALIBRATE, GATE
from edgebind.manifest import WindowSpec
from edgebind.signals import Window
from edgebind.sources.units import Units

_MANY = 64
"""Windows of one recording, after each of which it is seen whether two parts of it would do."""


def require(
    paths: Sequence[Path], modality: str, spec: WindowSpec, among: Sequence[str] = (), units: Units | None = None
) -> None:
    """Refuse recordings, or a calibration set, that would turn out too short; no more is read than it takes to be sure.

    Every recording gives its first window, so one that cannot be read is known as well.

    Parameters
    ----------
    among: all modalities that the paths are for.

    Raises
    ------
    CalibrationError: too few windows to calibrate or judge on, none in one recording, nothing of this modality, or a
        recording of the set that is gone or has changed.
    RecordingError: a recording that cannot be read or cannot be true.
    """
    found = material.sets_among(paths)
    if found:
        _require_of_set(material.set_of(modality, found), spec)
        return
    named = finding.named(finding.fitting(paths, modality, among), modality)
    held = recordings.held_out([name for name, _ in named])
    roles = [BOTH] if len(named) == 1 else [GATE if place in held else CALIBRATE for place in range(len(named))]
    counts = [_count(path, role, modality, spec, units) for (_, path), role in zip(named, roles, strict=True)]
    _require(counts, paths[0])


def _require_of_set(file: Path, spec: WindowSpec) -> None:
    made = sets.read(file)
    places = [sets.place_of(member, file) for member in made.recordings]
    for member, place in zip(made.recordings, places, strict=True):
        sets.verify(member, place)
    roles = [member.role for member in made.recordings]
    counts = [_count(*each, made.modality, spec, made.said()) for each in zip(places, roles, strict=True)]
    _require(counts, file, most=made.draw.windows)


def _require(counts: Sequence[tuple[int, int]], where: Path, most: int = 0) -> None:
    """`most`: windows that calibrate at most; 0 is no limit."""
    calibrate, judge = (sum(part) for part in zip(*counts, strict=True))
    require_windows("calibrate", min(calibrate, most or calibrate), LEAST_CALIBRATION, where)
    require_windows("gate", judge, LEAST_GATE, where)


def _count(path: Path, role: str, modality: str, spec: WindowSpec, units: Units | None) -> tuple[int, int]:
    """(windows that calibrate, windows that judge) of one recording, counted until it is enough alone."""
    windows = recordings.windows(path, modality, spec, units)
    first = next(windows, None)
    if first is None:
        raise recordings.too_short(path, spec)
    windows = chain([first], windows)
    if role == BOTH:
        return _count_parts(windows)
    least = LEAST_GATE if role == GATE else LEAST_CALIBRATION
    counted = sum(1 for _ in islice(windows, least))
    return (0, counted) if role == GATE else (counted, 0)


def _count_parts(windows: Iterator[Window]) -> tuple[int, int]:
    """Those of a recording that is cut in time: neither part shrinks when it goes on, so its beginning may be enough."""
    starts: list[int] = []
    stops: list[int] = []
    for window in windows:
        starts.append(window.start_ns)
        stops.append(window.stop_ns)
        if len(starts) % _MANY == 0 and _are_enough(parts := _parts(starts, stops)):
            return parts
    return _parts(starts, stops)


def _are_enough(parts: tuple[int, int]) -> bool:
    return parts[0] >= LEAST_CALIBRATION and parts[1] >= LEAST_GATE


def _parts(starts: Sequence[int], stops: Sequence[int]) -> tuple[int, int]:
    begins, ends = np.array(starts, np.int64), np.array(stops, np.int64)
    stop, start = recordings.cut(begins, ends)
    return int((ends <= stop).sum()), int((begins >= start).sum())
