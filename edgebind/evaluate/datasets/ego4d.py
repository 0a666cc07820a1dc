"""Ego4D (Grauman et al. 2022): what people do, from the IMU of the camera on their head.

    root/
      ego4d.json          videos: video_uid, scenarios, has_imu, split_em, split_av, split_fho, ...
      v2/imu/UID.csv      component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,...,accl_z; or v1/imu, imu
      v2/full_scale/      UID.mp4, or v2/video_540ss: only for retrieval of pictures by motion

A video says what it shows as a whole; each of its clips of 5 s takes that over. Which clips ImageBind judged was not
published: here they are those of the videos that the benchmarks call validation, with one scenario each, as far as the
IMU has no gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind import resample
from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Clip, Dataset, Pairing, Published
from edgebind.evaluate.datasets import layout, templates
from edgebind.preprocess.videos import Video

SPLITS = ("val", "all")
IMU_FOLDERS = ("v2/imu", "v1/imu", "imu")
VIDEO_FOLDERS = ("v2/video_540ss", "v2/full_scale", "v1/video_540ss", "v1/full_scale")
TIME = "canonical_timestamp_ms"
CHANNELS = ("accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")
"""m/s² and rad/s, in edgebind's order."""
BENCHMARKS = ("split_em", "split_av", "split_fho")
LONGEST_GAP = 0.05
"""Seconds between two samples; the cameras' usual is 0.005."""
PUBLISHED = Published("top1", random=0.9, imagebind=25.0)

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Video:
    uid: str
    scenarios: tuple[str, ...]
    parts: frozenset[str]
    """What the benchmarks use it for: train, val, test."""


@dataclass(frozen=True, slots=True)
class _Piece:
    video: _Video
    path: Path
    number: int
    """Counts pieces of 5 s from the video's start."""


def open(root: Path, split: str = "val") -> Dataset:
    """Scenarios by motion, and what was seen during the motion in the middle of each video that is there.

    Every IMU file is read once here, to list only clips without gaps: some seconds for an hour of recording.

    Raises
    ------
    RecordingError: another layout, or no clip at all.
    """
    videos = _videos(root / "ego4d.json")
    classes = tuple(sorted({scenario for video in videos for scenario in video.scenarios}))
    listed = [video for video in videos if len(video.scenarios) == 1 and (split == "all" or video.parts == {"val"})]
    folder = layout.first_that_exists(root, *IMU_FOLDERS)
    found, notes = layout.present(listed, lambda video: folder / f"{video.uid}.csv", root)
    pieces = [piece for video in found for piece in _pieces(video, folder / f"{video.uid}.csv")]
    if not pieces:
        raise RecordingError("no IMU recording of 5 s without gaps", where=folder)
    clips = Classification(
        name=f"Ego4D scenarios {split}",
        modality="imu",
        clips=[_clip(root, piece) for piece in pieces],
        targets=tuple((classes.index(piece.video.scenarios[0]),) for piece in pieces),
        classes=classes,
        words=tuple((scenario.lower(),) for scenario in classes),
        templates=templates.IMU,
        published=(PUBLISHED,) if split == "val" else (),
        groups=tuple(piece.video.uid for piece in pieces),
    )
    said = {"split": split, "videos": notes["clips"], "clips": f"{len(pieces)} of 5 s", **_protocol(videos, classes)}
    return Dataset("Ego4D", (clips,), _pairs(root, pieces), said)


def _protocol(videos: Sequence[_Video], classes: Sequence[str]) -> dict[str, str]:
    several = sum(len(video.scenarios) != 1 for video in videos)
    return {
        "protocol": f"videos of one scenario; {several} of {len(videos)} with IMU have none or several. Which clips "
        f"ImageBind judged was not published; it had 108 scenarios, these are {len(classes)}",
        "licence": "Ego4D licence agreement",
    }


def _videos(path: Path) -> list[_Video]:
    """Those with IMU."""
    try:
        entries = [entry for entry in layout.tree(path)["videos"] if entry.get("has_imu", True)]
        return [
            _Video(
                str(entry["video_uid"]),
                tuple(entry["scenarios"]),
                frozenset(entry[name] for name in BENCHMARKS if entry.get(name)),
            )
            for entry in entries
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordingError(
            "another layout", where=path, wanted="videos with video_uid and scenarios", got=repr(error)
        ) from error


def _pieces(video: _Video, path: Path) -> list[_Piece]:
    return [_Piece(video, path, number) for number in whole_pieces(_columns(path, (TIME,))[:, 0] / 1000)]


def _clip(root: Path, piece: _Piece) -> Clip:
    return layout.clip(root, piece.path, partial(motion, piece.path, piece.number), f"#{piece.number}")


def _pairs(root: Path, pieces: Sequence[_Piece]) -> tuple[Pairing, ...]:
    """For each video that is there the clip in the middle of what was measured, and the pictures of the same 5 s."""
    by_video: dict[str, list[_Piece]] = {}
    for piece in pieces:
        by_video.setdefault(piece.video.uid, []).append(piece)
    middles = [group[len(group) // 2] for group in by_video.values()]
    both = [(piece, _video_file(root, piece.video.uid)) for piece in middles]
    left, right = [], []
    for piece, path in both:
        if path is not None:
            start, stop = (number * _seconds() for number in (piece.number, piece.number + 1))
            left.append(_clip(root, piece))
            right.append(layout.clip(root, path, partial(Video, path, start, stop), f"#{start:g}-{stop:g}"))
    if not left:
        return ()
    return (
        Pairing("Ego4D motion and picture", "imu", left, "vision", right, tuple((at, at) for at in range(len(left)))),
    )


def _video_file(root: Path, uid: str) -> Path | None:
    return next((path for at in VIDEO_FOLDERS if layout.is_there(path := root / at / f"{uid}.mp4")), None)


# --- motion -----------------------------------------------------------------------------------------------------------


def _seconds() -> float:
    return modalities.get("imu").seconds


def whole_pieces(seconds: Reals) -> list[int]:
    """Numbers of the pieces of 5 s, counted from 0 s, in which no two samples are more than `LONGEST_GAP` apart."""
    length = _seconds()
    times = np.sort(seconds[np.isfinite(seconds)])
    if not len(times):
        return []
    first = math.ceil((times[0] - LONGEST_GAP) / length)
    stop = math.floor((times[-1] + LONGEST_GAP) / length)
    gaps = np.flatnonzero(np.diff(times) > LONGEST_GAP)
    broken = {number for at in gaps for number in range(int(times[at] // length), int(times[at + 1] // length) + 1)}
    return [number for number in range(max(first, 0), stop) if number not in broken]


def motion(path: Path, number: int) -> NDArray[np.float32]:
    """float32 (6, 2000): piece `number` of 5 s at 400 Hz, m/s² and rad/s, by straight lines between samples.

    Raises
    ------
    RecordingError: no such file, another layout, or not numbers.
    """
    times, samples = _recording(path)
    imu = modalities.get("imu")
    count = round(imu.seconds * imu.rate_hz)
    grid = number * imu.seconds + np.arange(count) / imu.rate_hz
    first, last = np.searchsorted(times, [grid[0], grid[-1]])
    near = np.arange(max(first - 1, 0), min(last + 1, len(times)))
    positions = np.interp(grid, times[near], near)
    return resample.linear(samples, positions[None], 0)[0]


@lru_cache(maxsize=2)
def _recording(path: Path) -> tuple[Reals, NDArray[np.float32]]:
    """Times in seconds, and samples (6, n). The clips of one file follow each other: it is parsed once."""
    table = _columns(path, (TIME, *CHANNELS))
    table = table[np.isfinite(table[:, 0])]
    table = table[np.argsort(table[:, 0], kind="stable")]
    return table[:, 0] / 1000, np.ascontiguousarray(table[:, 1:].T, np.float32)


def _columns(path: Path, names: Sequence[str]) -> Reals:
    """(rows, names); a time is NaN where the video was trimmed away, as the data set says of it."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            titles = stream.readline().strip().split(",")
            layout.require(names, titles, path)
            used = [titles.index(name) for name in names]
            options: dict[str, Any] = {"converters": {titles.index(TIME): _stamp}, "encoding": "utf-8"}
            return np.loadtxt(stream, delimiter=",", usecols=used, ndmin=2, **options)
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
    except ValueError as error:
        raise RecordingError(f"is no table of numbers: {error}", where=path) from error


def _stamp(cell: str) -> float:
    return float(cell) if cell not in ("", "NULL", "null", "None") else math.nan
