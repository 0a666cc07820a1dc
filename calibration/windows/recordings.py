"""Real recordings -> model inputs for calibration and gate, never the same recording in both.

    paths -> recordings -> chunks -> windows -> preprocessed inputs, evenly thinned -> (calibration, gate)

Which files they are, `edgebind.calibration.windows.finding` tells.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import preprocess
from edgebind.calibration.batches import Batch
from edgebind.calibration.windows import finding
from edgebind.errors import CalibrationError, RecordingError
from edgebind.manifest import Manifest, WindowSpec
from edgebind.signals import NANOSECONDS, Window
from edgebind.sources.units import Units
from edgebind.traits import Traits

MOST = 2048
"""Windows that are held in memory, over all recordings."""
GUARD = 10 * NANOSECONDS
"""Left out between the two parts of one recording, but never more than a tenth of it.

Frames of a thermal camera on a car resemble those of the next 10 s more than those of any later time: the cosine of their
embeddings falls from 0.93 within 2 s to 0.90 after 10 s, and is no lower after 40 s or 80 s (RoadScene, by frame number).
"""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The windows of one recording, as an encoder reads them."""

    name: str
    start_ns: NDArray[np.int64]
    stop_ns: NDArray[np.int64]
    inputs: NDArray[Any]
    """(windows, ...)"""
    traits: NDArray[np.float32] | None = None
    """(windows, n): the same windows in their sensor's units, see `edgebind.traits`."""

    def part(self, which: NDArray[np.bool_], suffix: str) -> Recording:
        traits = None if self.traits is None else self.traits[which]
        times = self.start_ns[which], self.stop_ns[which]
        return Recording(f"{self.name}{suffix}", *times, self.inputs[which], traits)

    def batch(self) -> Batch:
        return Batch(self.name, self.inputs, self.start_ns, self.traits)


def read(paths: Sequence[Path], description: Manifest, units: Units | None = None) -> list[Recording]:
    """Read recordings as the encoder of `description` would see them live.

    Parameters
    ----------
    units: what the user says, where a recording is not in SI units.

    Raises
    ------
    CalibrationError: nothing of this modality, or a recording that gives no window.
    RecordingError: a recording that cannot be read or cannot be true.
    """
    found = finding.named(paths, description.modality)
    most = max(16, MOST // max(1, len(found)))
    return [_read(path, name, description, units, most) for name, path in found]


def _read(path: Path, name: str, description: Manifest, units: Units | None, most: int) -> Recording:
    kept = thin(inputs(path, description, units), most)
    if not kept:
        raise too_short(path, description.window)
    starts, stops, values, traits = zip(*kept, strict=True)
    times = np.array(starts, np.int64), np.array(stops, np.int64)
    return Recording(name, *times, np.stack(values), np.stack(traits))


def too_short(path: Path, spec: WindowSpec) -> CalibrationError:
    """What to say of a recording without a window."""
    return CalibrationError("too short for a single window", where=path, wanted=f"at least {spec.seconds:g} s")


def inputs(
    path: Path, description: Manifest, units: Units | None = None, places: Container[int] | None = None
) -> Iterator[tuple[int, int, Any, Any]]:
    """(start, stop, input, traits) of each window of one recording, read while it is asked for.

    Parameters
    ----------
    places: numbers of the windows that are wanted, counted from 0; None wants all.

    Raises
    ------
    CalibrationError: a window that cannot be preprocessed.
    RecordingError: a recording that cannot be read or cannot be true.
    """
    prepare = preprocess.build(description.preprocess)
    traits = Traits(description.modality, description.window.channels, description.window.units)
    for place, window in enumerate(windows(path, description.modality, description.window, units)):
        if places is not None and place not in places:
            continue
        try:
            yield window.start_ns, window.stop_ns, prepare(window.samples), traits([window.samples])[0]
        except RecordingError as error:
            raise CalibrationError(
                error.what, where=window.origin, wanted=error.wanted, got=error.got, remedy=error.remedy
            ) from error


def windows(path: Path, modality: str, spec: WindowSpec, units: Units | None = None) -> Iterator[Window]:
    """The windows of one recording as a sensor would give them, before any preprocessing.

    Raises
    ------
    RecordingError: a recording that cannot be read or cannot be true.
    """
    from edgebind.sources.file import open_recording
    from edgebind.window import make_windower

    windower = make_windower(spec, modality, every_frame=True)
    for chunk in open_recording(path, modality, spec, units=units, chunk_seconds=1.0):
        yield from windower.push(chunk)
    yield from windower.finish()


def thin(items: Iterable[Any], most: int) -> list[Any]:
    """At most `most` items of a stream, evenly spaced, holding never more than twice as many.

    Each time the list fills up, every other one is dropped and the step doubles: 0 1 2 3 -> 0 2 -> 0 2 4 6 -> 0 4 ...
    """
    kept: list[Any] = []
    step = 1
    for place, item in enumerate(items):
        if place % step == 0:
            kept.append(item)
        if len(kept) >= 2 * most:
            kept, step = kept[::2], step * 2
    return kept[::2] if len(kept) > most else kept


def split(recordings: Sequence[Recording]) -> tuple[list[Batch], list[Batch]]:
    """(calibration, gate): two thirds and one third, by recording; a single recording is cut in time.

    See `held_out` and `cut`.
    """
    if len(recordings) == 1:
        return _split_in_time(recordings[0])
    held = held_out([recording.name for recording in recordings])
    parts = [[r.batch() for i, r in enumerate(recordings) if (i in held) is judged] for judged in (False, True)]
    return parts[0], parts[1]


def held_out(names: Sequence[str]) -> set[int]:
    """Which of two or more recordings are judged on: every third within each folder, so that both parts see every kind.

    Where folders hold too few, every third of all; at least the last one.
    """
    held = {place for places in _by_folder(names).values() for place in places[2::3]}
    if len(held) < len(names) // 4:
        held = set(range(2, len(names), 3))
    return held or {len(names) - 1}


def _by_folder(names: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.rpartition("/")[0], []).append(place)
    return places


def cut(start_ns: NDArray[np.int64], stop_ns: NDArray[np.int64]) -> tuple[int, int]:
    """(stop of the first two thirds, start of the last third) of the windows of one recording, nanoseconds.

    Between them `GUARD` is left out, and at least one window, because windows overlap, neighbouring frames show the same
    scene and sensors drift slowly.
    """
    length = int(stop_ns[-1] - start_ns[0])
    guard = max(int((stop_ns - start_ns).max()), min(GUARD, length // 10))
    stop = int(start_ns[0]) + (length - guard) * 2 // 3
    return stop, stop + guard


def _split_in_time(recording: Recording) -> tuple[list[Batch], list[Batch]]:
    stop, start = cut(recording.start_ns, recording.stop_ns)
    early = recording.part(recording.stop_ns <= stop, " (first two thirds)")
    late = recording.part(recording.start_ns >= start, " (last third)")
    return [early.batch()], [late.batch()]
