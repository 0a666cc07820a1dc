"""IMU recordings with a label for each sample, in the layouts they were published in.

    spsw        s01/s01_01_sp.csv[.gz]            Matey-Sanz et al. 2023: phone and watch, people walking, sitting, turning
    borealtc    ICE/imu_00.csv[.gz]               LaRocque et al. 2024: a wheeled robot on five terrains
    hapt        acc_exp01_user01.txt[.gz],        Reyes-Ortiz et al. 2015: a phone on the waist; for evaluation only
                gyro_exp01_user01.txt[.gz], labels.txt

The starter's IMU tower was trained on the first two: what it makes of them shows that the road is whole, and nothing more.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Dataset, Labelled, Recordings
from edgebind.preprocess.imu import STANDARD_GRAVITY
from edgebind.signals import NANOSECONDS

PROMPTS = {
    "SEATED": "a person sitting still",
    "STANDING_UP": "a person standing up from a chair",
    "WALKING": "a person walking",
    "TURNING": "a person turning around",
    "SITTING_DOWN": "a person sitting down on a chair",
    "ASPHALT": "a robot driving on asphalt",
    "FLOORING": "a robot driving on indoor flooring",
    "ICE": "a robot driving on ice",
    "SANDY_LOAM": "a robot driving on sandy loam",
    "SNOW": "a robot driving on snow",
}
"""Class -> the starter's own words for it."""
ACTIVITIES = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
TERRAINS = ("ASPHALT", "FLOORING", "ICE", "SANDY_LOAM", "SNOW")

SPSW_SPLITS = ("all", "phone", "watch")
BOREALTC_SPLITS = ("all",)
HAPT_SPLITS = ("walking-sitting", "transitions")
LEARNED = "the starter's IMU tower was trained on these recordings"
HAPT_RATE_HZ = 50.0
HAPT_NAMES = {4: "SEATED", 8: "STANDING_UP", 1: "WALKING", 7: "SITTING_DOWN"}
"""Number in labels.txt -> the class that it is here. Nobody turns around; of stairs and lying the starter has heard nothing."""


def open_spsw(root: Path, split: str = "all") -> Dataset:
    """Five activities of people with a phone in the pocket or a watch on the wrist.

    Raises
    ------
    RecordingError: another layout, or no recording.
    """
    found = [item for item in read_spsw(root) if split in ("all", item.carrier)]
    return _dataset("SP-SW-HAR", root, found, ACTIVITIES, {"split": split, "licence": "CC BY 4.0", "training": LEARNED})


def open_borealtc(root: Path, split: str = "all") -> Dataset:
    """Five terrains below a wheeled robot.

    Raises
    ------
    RecordingError: another layout, or no recording.
    """
    return _dataset(
        "BorealTC", root, read_borealtc(root), TERRAINS, {"split": split, "licence": "CC0", "training": LEARNED}
    )


def open_hapt(root: Path, split: str = "walking-sitting") -> Dataset:
    """People with a phone on the waist.

    Parameters
    ----------
    split: `walking-sitting` asks which of the two it is; `transitions` asks for sitting down and standing up as well.

    Raises
    ------
    RecordingError: another layout, or no recording.
    """
    classes = ("SEATED", "WALKING") if split == "walking-sitting" else tuple(HAPT_NAMES.values())
    notes = {"split": split, "licence": "no commercial use", "place": "on the waist, where the starter has never been"}
    return _dataset("HAPT", root, read_hapt(root), classes, notes)


def _dataset(
    name: str, root: Path, found: Sequence[Labelled], classes: tuple[str, ...], notes: Mapping[str, str]
) -> Dataset:
    if not found:
        raise RecordingError(f"holds no recording of {name}", where=root, remedy="give the folder as it is published")
    prompts = tuple((PROMPTS[label],) for label in classes)
    shown = notes["split"] if notes["split"] != "all" else ""
    recordings = Recordings(f"{name} {shown}".strip(), "imu", found, classes, prompts)
    groups = len({item.group for item in found})
    counted = {"recordings": f"{len(found)} of {groups} people or runs"}
    return Dataset(name, notes={**notes, **counted}, recordings=(recordings,))


# --- reading ----------------------------------------------------------------------------------------------------------


def read_spsw(folder: Path) -> list[Labelled]:
    """One folder a person; x_acc..z_acc, x_gyro..z_gyro, timestamp in Unix ms, label.

    Raises
    ------
    RecordingError: a file that is no such table.
    """
    found = []
    for path in sorted(folder.glob("*/*.csv*")):
        table = _table(path, str, 8)
        times = _numbers(table[:, 6], np.int64, path) * 1_000_000
        samples = _numbers(table[:, :6], np.float32, path)
        carrier = "watch" if "_sw." in path.name else "phone"
        found.append(Labelled(_below(folder, path), path.parent.name, carrier, times, samples, table[:, 7]))
    return found


def read_borealtc(folder: Path) -> list[Labelled]:
    """One folder a terrain; time in s, wx..wz, ax..az.

    Raises
    ------
    RecordingError: a file that is no such table.
    """
    found = []
    for path in sorted(folder.glob("*/imu_*.csv*")):
        table = _table(path, np.float64, 7)
        times = np.round(table[:, 0] * NANOSECONDS).astype(np.int64)
        samples = table[:, [4, 5, 6, 1, 2, 3]].astype(np.float32)
        group = f"{path.parent.name}/{path.name.split('.')[0]}"
        labels = np.full(len(times), path.parent.name)
        found.append(Labelled(_below(folder, path), group, "robot", times, samples, labels))
    return found


def read_hapt(folder: Path) -> list[Labelled]:
    """Accelerometer in g and gyroscope in rad/s in files of their own, 50 Hz without times; labels as ranges of samples.

    Raises
    ------
    RecordingError: no labels, a file that is no such table, or one of a pair is missing or of another length.
    """
    paths = sorted(folder.glob("acc_exp*_user*.txt*"))
    ranges = _ranges(folder / "labels.txt") if paths else {}
    return [_hapt_recording(folder, path, ranges) for path in paths]


Range = tuple[int, int, int]
"""Activity, first sample and last sample, counted from 1."""


def _ranges(path: Path) -> dict[int, list[Range]]:
    """Experiment -> its ranges."""
    found: dict[int, list[Range]] = {}
    for row in _table(path, np.int64, 5, delimiter=None, titles=0).tolist():
        experiment, _, activity, first, last = row[:5]
        found.setdefault(experiment, []).append((activity, first, last))
    return found


def _hapt_recording(folder: Path, path: Path, ranges: Mapping[int, Sequence[Range]]) -> Labelled:
    name = path.name.removeprefix("acc_").split(".")[0]
    numbers = re.fullmatch(r"exp(\d+)_user(\d+)", name)
    if numbers is None:
        raise RecordingError("a file of another name", where=path, wanted="acc_exp01_user01.txt")
    acceleration = _table(path, np.float64, 3, delimiter=None, titles=0)
    partner = folder / f"gyro_{name}.txt"
    partner = partner if partner.exists() else partner.with_suffix(".txt.gz")
    rotation = _table(partner, np.float64, 3, delimiter=None, titles=0)
    if len(acceleration) != len(rotation):
        raise RecordingError(
            "two sensors of unequal length", where=partner, wanted=len(acceleration), got=len(rotation)
        )
    samples = np.concatenate([acceleration[:, :3] * STANDARD_GRAVITY, rotation[:, :3]], axis=1).astype(np.float32)
    times = np.round(np.arange(len(samples)) * (NANOSECONDS / HAPT_RATE_HZ)).astype(np.int64)
    labels = np.full(len(samples), "", dtype="<U16")
    for activity, first, last in ranges.get(int(numbers[1]), ()):
        labels[first - 1 : last] = HAPT_NAMES.get(activity, "")
    return Labelled(_below(folder, path), f"user {int(numbers[2])}", "phone", times, samples, labels)


def _table(path: Path, kind: type, width: int, *, delimiter: str | None = ",", titles: int = 1) -> NDArray[Any]:
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            rows = stream.readlines()[titles:]
        # An empty list of rows would be a warning, and no error.
        table: NDArray[Any] = np.loadtxt(rows or ["no rows"], delimiter=delimiter, dtype=kind, ndmin=2)
    except (ValueError, EOFError, zlib.error) as error:
        raise RecordingError(f"cannot be read as a table: {error}", where=path) from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
    if not len(table) or table.shape[1] < width:
        raise RecordingError("cannot be read as a table", where=path, wanted=f"{width} columns", got=table.shape)
    return table


def _numbers(cells: NDArray[Any], kind: type, path: Path) -> NDArray[Any]:
    try:
        return cells.astype(kind)
    except ValueError as error:
        raise RecordingError(f"cannot be read as a table: {error}", where=path) from error


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
