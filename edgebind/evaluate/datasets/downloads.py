"""Clips cut out of YouTube videos: the data sets publish lists of them, and downloaders name the files as they please.

Of the video `id` from second 30 to 40, each of these is found, with any suffix of a sound or a video, in any subfolder:

    id   Yid   id_30   id_30_40   id_000030   id_000030_000040   id_30000   id_30000_40000   id_30.000_40.000
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgebind import extras
from edgebind.evaluate.dataset import Classification
from edgebind.evaluate.datasets import templates
from edgebind.evaluate.datasets.layout import is_there
from edgebind.preprocess import videos
from edgebind.preprocess.videos import Video

VIDEO = videos.SUFFIXES
SOUND = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", *VIDEO)
"""Where a clip is there in several, the first of these is taken."""

_HEADER = 44
"""Bytes of a WAV file before its first sample."""


class Downloads:
    """The media files below a folder, by name without suffix."""

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        """Look for files with `suffixes` in `folder` and everything below it, once."""
        self.folder = folder
        self._found: dict[str, Path] = {}
        rank = {suffix: number for number, suffix in enumerate(suffixes)}
        for path in sorted(_files(folder)):
            suffix = path.suffix.lower()
            known = self._found.get(path.stem)
            if suffix in rank and (known is None or rank[suffix] < rank[known.suffix.lower()]):
                self._found[path.stem] = path

    def of(self, youtube_id: str, start: float, end: float) -> Path:
        """The file of a clip, from second `start` to `end` of its video; the likeliest name where there is none."""
        names = list(_names(youtube_id, start, end))
        found = next((self._found[name] for name in names if name in self._found), None)
        return found or self.folder / f"{names[0]}.*"

    def named(self, stem: str) -> Path:
        """The file of that name without suffix; a path that does not exist where there is none."""
        return self._found.get(stem, self.folder / f"{stem}.*")


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _names(youtube_id: str, start: float, end: float) -> Iterator[str]:
    first, last = int(start), int(end)
    yield f"{youtube_id}_{first:06d}_{last:06d}"
    for prefix in ("", "Y"):
        name = prefix + youtube_id
        yield f"{name}_{first:06d}"
        yield f"{name}_{first}_{last}"
        yield f"{name}_{round(start * 1000)}_{round(end * 1000)}"
        yield f"{name}_{start:.3f}_{end:.3f}"
        yield f"{name}_{first}"
        yield f"{name}_{round(start * 1000)}"
        yield name


def readable(paths: Sequence[Path], kind: str) -> list[bool]:
    """For each file whether a stream of `kind`, "audio" or "video", can be opened in it. Headers alone are read.

    Raises
    ------
    MissingDependencyError: a file is no WAV, and PyAV is not installed.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda path: _holds(path, kind), paths))


def _holds(path: Path, kind: str) -> bool:
    if not is_there(path):
        return False
    if path.suffix.lower() == ".wav":
        return kind == "audio" and path.stat().st_size > _HEADER
    av = extras.pyav("videos")
    try:
        with path.open("rb") as file, av.open(file) as container:
            return any(stream.type == kind for stream in container.streams)
    except (av.FFmpegError, ValueError, OSError):
        # Damaged: counted with the absent, and the report says how many there were.
        return False


def with_the_seen(heard: Classification, paths: Sequence[Path]) -> tuple[Classification, ...]:
    """Sounds, and under the same names and classes what is to be seen in those of the files that hold pictures too.

    Parameters
    ----------
    paths: for each clip its file.
    """
    rows = [row for row, there in enumerate(readable(paths, "video")) if there]
    if not rows:
        return (heard,)
    seen = replace(
        heard.only(rows),
        name=f"{heard.name} seen",
        modality="vision",
        clips=[replace(heard.clips[row], load=partial(Video, paths[row])) for row in rows],
        templates=templates.SOUNDING,
        published=(),
    )
    return heard, seen
