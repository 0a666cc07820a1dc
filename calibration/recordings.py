"""Real recordings -> model inputs for calibration and gate, never the same recording in both.

    paths -> recordings -> chunks -> windows -> preprocessed inputs, evenly thinned -> (calibration, gate)

A folder of pictures is one recording, so is each file of a signal, of sound or of prompts. Pictures look alike to every
camera's tower; a folder called thermal, depth or vision says whose they are.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind import preprocess
from edgebind.calibration.batches import Batch
from edgebind.errors import CalibrationError, OptionError, RecordingError
from edgebind.manifest import Manifest
from edgebind.signals import NANOSECONDS, Window
from edgebind.sources.pictures import SUFFIXES as PICTURES
from edgebind.sources.prompts import SUFFIXES as PROMPTS
from edgebind.sources.sounds import SUFFIXES as SOUNDS
from edgebind.sources.units import Units
from edgebind.traits import Traits

MOST = 2048
"""Windows that are held in memory, over all recordings."""
GUARD = 10 * NANOSECONDS
"""Left out between the two parts of one recording, but never more than a tenth of it.

Frames of a thermal camera on a car resemble those of the next 10 s more than those of any later time: the cosine of their
embeddings falls from 0.93 within 2 s to 0.90 after 10 s, and is no lower after 40 s or 80 s (RoadScene, by frame number).
"""

_KINDS: dict[str, tuple[str, ...]] = {
    "imu": (".csv", ".csv.gz", ".npz"),
    "thermal": (*PICTURES, ".npz"),
    "depth": (*PICTURES, ".npz"),
    "vision": (*PICTURES, ".npz"),
    "audio": SOUNDS,
    "text": PROMPTS,
}


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


def find(paths: Sequence[Path], modality: str) -> list[Path]:
    """The recordings of a modality among `paths` and below the folders in it, sorted; pictures count by the folder.

    Raises
    ------
    CalibrationError: a path that does not exist, a file of another kind, or a folder without any recording.
    """
    # By what a path leads to: one recording named twice must not calibrate under one name and judge under the other.
    found = {recording.resolve(): recording for path in paths for recording in _below(path, modality)}
    return sorted(found.values())


def _below(path: Path, modality: str) -> list[Path]:
    kinds = _KINDS[modality]
    if not path.exists():
        raise CalibrationError("no such recording", where=path)
    if path.is_file():
        if not path.name.lower().endswith(kinds):
            raise CalibrationError(f"no {modality} recording", where=path, wanted=" ".join(kinds), got=path.suffix)
        return [path]
    files = _files(path, modality)
    if not files:
        raise CalibrationError(f"no {modality} recording in this folder", where=path, wanted=" ".join(kinds))
    return [file.parent if file.name.lower().endswith(PICTURES) else file for file in files]


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
    found = find(paths, description.modality)
    most = max(16, MOST // max(1, len(found)))
    names = _short_names(found)
    return [_read(path, name, description, units, most) for path, name in zip(found, names, strict=True)]


def _read(path: Path, name: str, description: Manifest, units: Units | None, most: int) -> Recording:
    kept = thin(_inputs(path, description, units), most)
    if not kept:
        need = f"{description.window.seconds:g} s"
        raise CalibrationError("too short for a single window", where=path, wanted=f"at least {need}")
    starts, stops, inputs, traits = zip(*kept, strict=True)
    times = np.array(starts, np.int64), np.array(stops, np.int64)
    return Recording(name, *times, np.stack(inputs), np.stack(traits))


def _inputs(path: Path, description: Manifest, units: Units | None) -> Iterator[tuple[int, int, Any, Any]]:
    prepare = preprocess.build(description.preprocess)
    traits = Traits(description.modality, description.window.channels, description.window.units)
    for window in _windows(path, description, units):
        try:
            yield window.start_ns, window.stop_ns, prepare(window.samples), traits([window.samples])[0]
        except RecordingError as error:
            raise CalibrationError(
                error.what, where=window.origin, wanted=error.wanted, got=error.got, remedy=error.remedy
            ) from error


def _windows(path: Path, description: Manifest, units: Units | None) -> Iterator[Window]:
    from edgebind.sources.file import open_recording
    from edgebind.window import make_windower

    windower = make_windower(description.window, description.modality, every_frame=True)
    for chunk in open_recording(path, description.modality, description.window, units=units, chunk_seconds=1.0):
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

    Within each folder every third recording is held out, so that both parts see every kind there is; where folders hold too
    few, every third of all. Between the two
    parts of a single recording `GUARD` is left out, and at least one window, because windows overlap, neighbouring frames
    show the same scene and sensors drift slowly.
    """
    if len(recordings) == 1:
        return _split_in_time(recordings[0])
    held_out = {place for places in _by_folder(recordings).values() for place in places[2::3]}
    if len(held_out) < len(recordings) // 4:
        held_out = set(range(2, len(recordings), 3))
    if not held_out:
        held_out = {len(recordings) - 1}
    parts = [[r.batch() for i, r in enumerate(recordings) if (i in held_out) is held] for held in (False, True)]
    return parts[0], parts[1]


def _by_folder(recordings: Sequence[Recording]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, recording in enumerate(recordings):
        places.setdefault(recording.name.rpartition("/")[0], []).append(place)
    return places


def _split_in_time(recording: Recording) -> tuple[list[Batch], list[Batch]]:
    length = int(recording.stop_ns[-1] - recording.start_ns[0])
    guard = max(int((recording.stop_ns - recording.start_ns).max()), min(GUARD, length // 10))
    cut = int(recording.start_ns[0]) + (length - guard) * 2 // 3
    early = recording.part(recording.stop_ns <= cut, " (first two thirds)")
    late = recording.part(recording.start_ns >= cut + guard, " (last third)")
    return [early.batch()], [late.batch()]


def _short_names(paths: Sequence[Path]) -> list[str]:
    """Paths without the part that all have in common: reports should not carry a user's home folder."""
    if len(paths) == 1:
        return [paths[0].name]
    common = len(Path(*_common_parts(paths)).parts)
    return ["/".join(path.absolute().parts[common:]) for path in paths]


def _common_parts(paths: Sequence[Path]) -> list[str]:
    columns = zip(*(path.absolute().parent.parts for path in paths), strict=False)
    common = []
    for column in columns:
        if len(set(column)) > 1:
            break
        common.append(column[0])
    return common


def fitting(paths: Sequence[Path], modality: str, among: Sequence[str] = ()) -> list[Path]:
    """Those of the user's paths that hold recordings of a modality; all of them if none does, for a clear refusal.

    Parameters
    ----------
    among: the modalities these paths are for. If they are several, a folder that is called like another one is not taken.

    Raises
    ------
    CalibrationError: all recordings that would fit are another modality's.
    """
    fits = [path for path in paths if (_files(path, modality) if path.is_dir() else _is_of(path, modality))]
    own = [path for path in fits if len(among) < 2 or _named_for([path.absolute().name]) in (None, modality)]
    if fits and not own:
        raise CalibrationError(
            f"no {modality} recording", where=fits[0], remedy=f"give a folder called {modality}, or name one --modality"
        )
    return own or list(paths)


def require_owner(paths: Sequence[Path], among: Sequence[str]) -> None:
    """Refuse pictures that could be those of several cameras, when no folder's name says which.

    Raises
    ------
    OptionError: such pictures, named by their folder.
    """
    cameras = [name for name in among if modalities.get(name).is_camera]
    if len(cameras) < 2:
        return
    for path in paths:
        files = _files(path, cameras[0]) if path.is_dir() else [path] if _is_of(path, cameras[0]) else []
        for file in files:
            if _named_for((path.absolute().name, *file.relative_to(path).parts[:-1])) is None:
                raise OptionError(
                    "pictures fit several modalities",
                    where=file.parent if file.name.lower().endswith(PICTURES) else file,
                    wanted=f"a folder called {' or '.join(cameras)}",
                    remedy="or export one --modality at a time",
                )


def _files(folder: Path, modality: str) -> list[Path]:
    """Files of a modality below a folder, in order, save those in folders that are called like another modality."""
    found = [file for file in sorted(folder.rglob("*")) if _is_of(file, modality) and file.is_file()]
    return [file for file in found if _named_for(file.relative_to(folder).parts[:-1]) in (None, modality)]


def _is_of(file: Path, modality: str) -> bool:
    """Whether a file can be a recording of a modality; of an archive, by what is in it."""
    if not file.name.lower().endswith(_KINDS[modality]):
        return False
    return not file.name.lower().endswith(".npz") or _holds_frames(file) in (None, modalities.get(modality).is_camera)


def _holds_frames(archive: Path) -> bool | None:
    """Whether an NPZ holds a camera's frames; None if it cannot be read, which its reader will say better."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return "frames.npy" in opened.namelist()
    except (OSError, zipfile.BadZipFile):
        return None


def _named_for(folders: Sequence[str]) -> str | None:
    """The modality that the innermost of such folders is called like."""
    return next((name.lower() for name in reversed(folders) if name.lower() in modalities.MODALITIES), None)
