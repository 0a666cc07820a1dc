"""Which files are the recordings of a sensor, what reports call them, and whose pictures are whose.

A folder of pictures is one recording, so is each file of a signal, of sound or of prompts. Pictures look alike to every
camera's tower; a folder called thermal, depth or vision says whose they are.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgebind import modality as modalities
from edgebind.errors import CalibrationError, OptionError
from edgebind.sources.pictures import SUFFIXES as PICTURES
from edgebind.sources.prompts import SUFFIXES as PROMPTS
from edgebind.sources.sounds import SUFFIXES as SOUNDS

_KINDS: dict[str, tuple[str, ...]] = {
    "imu": (".csv", ".csv.gz", ".npz"),
    "thermal": (*PICTURES, ".npz"),
    "depth": (*PICTURES, ".npz"),
    "vision": (*PICTURES, ".npz"),
    "audio": SOUNDS,
    "text": PROMPTS,
}


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


def named(paths: Sequence[Path], modality: str) -> list[tuple[str, Path]]:
    """What `find` finds, each with the short name that reports have for it.

    Raises
    ------
    CalibrationError: see `find`.
    """
    found = find(paths, modality)
    return list(zip(short_names(found), found, strict=True))


def short_names(paths: Sequence[Path]) -> list[str]:
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
