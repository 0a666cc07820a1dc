"""Vectors of a data set's clips, kept on disk piece by piece, so that an evaluation that was stopped goes on where it stood.

    CACHE/imu-int8-6a1f.../SP-SW-HAR-09bd.../00000.npz, 00001.npz, ...

The names carry a hash of the encoder and one of the clips: another weight, constant, folder or split is another place.
A clip whose file has changed since, or that could not be read, is embedded anew; the others of its piece are not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgebind import archive, atomic, utf8
from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Clip
from edgebind.evaluate.encoder import BATCH, Encoder
from edgebind.signals import Floats

PIECE = 256
"""Clips that are embedded, and kept, together."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the number of the step that is done, from 0 (-1 before the first), and of all steps."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """Vectors of those clips that could be read."""

    vectors: Floats
    """(kept, dim) unit rows."""
    rows: tuple[int, ...]
    """Which clips these are."""
    damaged: tuple[str, ...] = ()
    """What was wrong with the others, a line each."""


class Store:
    """Embeds clips, or remembers what they were."""

    def __init__(self, folder: Path | None, progress: Progress = lambda stage, step, steps: None) -> None:
        """Keep vectors in `folder`; None keeps them in memory only."""
        self.folder = folder
        self._progress = progress
        self._known: dict[str, Embedded] = {}

    def embed(self, encoder: Encoder, clips: Sequence[Clip], subject: str, source: str = "") -> Embedded:
        """Unit vectors of `clips`; a clip that cannot be read is left out and said.

        Parameters
        ----------
        subject: what the clips are, for people and for the name of their folder.
        source: where they come from: the same names in another folder are other clips.

        Raises
        ------
        RecordingError: no clip can be read.
        BackendError: the encoder cannot be run.
        StorageError: the disk is full or cannot be written.
        """
        key = _key(encoder.digest, source, *(clip.name for clip in clips))
        if key not in self._known:
            place = self.folder and self.folder / _place(encoder.name, encoder.digest) / _place(subject, key)
            self._known[key] = _joined(list(self._pieces(encoder, clips, place, f"{encoder.name} on {subject}")))
        found = self._known[key]
        if not found.rows:
            raise RecordingError(f"no clip can be read, the first because: {found.damaged[0]}", where=subject)
        return found

    def _pieces(self, encoder: Encoder, clips: Sequence[Clip], place: Path | None, stage: str) -> Iterator[Embedded]:
        for start in range(0, len(clips), PIECE):
            part = clips[start : start + PIECE]
            path = place and place / f"{start // PIECE:05d}.npz"
            piece = _whole(encoder, part, path, partial(self._tell, stage, len(clips), start))
            yield _moved(piece, range(start, start + len(part)))

    def _tell(self, stage: str, clips: int, before: int, done: int) -> None:
        self._progress(stage, before + done - 1, clips)


def _whole(encoder: Encoder, clips: Sequence[Clip], path: Path | None, progress: Callable[[int], None]) -> Embedded:
    """What was kept of a piece, and what is made now because it was not."""
    kept = (path and _read(path, encoder.dim, clips)) or Embedded(np.zeros((0, encoder.dim), np.float32), ())
    missing = sorted({*range(len(clips))}.difference(kept.rows))
    if not missing:
        progress(len(clips))
        return kept
    made = _embed(encoder, [clips[row] for row in missing], lambda done: progress(len(kept.rows) + done))
    found = _sorted(_joined([kept, _moved(made, missing)]))
    if path and made.rows:
        _write(path, found, clips)
    return found


def _embed(encoder: Encoder, clips: Sequence[Clip], progress: Callable[[int], None]) -> Embedded:
    """A batch at a time, so that no more than one batch of pictures or sounds is in memory."""
    parts: list[Embedded] = []
    for start in range(0, len(clips), BATCH):
        part = clips[start : start + BATCH]
        found = _at_once(encoder, part) or _one_by_one(encoder, part)
        parts.append(_moved(found, range(start, start + len(part))))
        progress(start + len(part))
    return _joined(parts)


def _at_once(encoder: Encoder, clips: Sequence[Clip]) -> Embedded | None:
    """None if any of the clips cannot be read."""
    try:
        return Embedded(encoder.embed([clip.load() for clip in clips]), tuple(range(len(clips))))
    except RecordingError:
        return None


def _one_by_one(encoder: Encoder, clips: Sequence[Clip]) -> Embedded:
    """Those that can be read, and what is wrong with the others."""
    found = [np.zeros((0, encoder.dim), np.float32)]
    rows: list[int] = []
    damaged: list[str] = []
    for at, clip in enumerate(clips):
        try:
            found.append(encoder.embed([clip.load()]))
            rows.append(at)
        except RecordingError as error:
            damaged.append(f"{clip.name}: {error}")
    return Embedded(np.concatenate(found), tuple(rows), tuple(damaged))


def _joined(parts: Sequence[Embedded]) -> Embedded:
    return Embedded(
        np.concatenate([part.vectors for part in parts]),
        tuple(row for part in parts for row in part.rows),
        tuple(line for part in parts for line in part.damaged),
    )


def _moved(part: Embedded, rows: Sequence[int]) -> Embedded:
    """A part of some clips, as part of those that it was chosen from: its clip `at` is their clip `rows[at]`."""
    return Embedded(part.vectors, tuple(rows[at] for at in part.rows), part.damaged)


def _sorted(found: Embedded) -> Embedded:
    order = np.argsort(found.rows, kind="stable")
    return Embedded(found.vectors[order], tuple(found.rows[at] for at in order), found.damaged)


# --- on disk ----------------------------------------------------------------------------------------------------------


def _read(path: Path, dim: int, clips: Sequence[Clip]) -> Embedded | None:
    """What was kept of clips that are what they were; None where nothing was, or not this."""
    if not path.is_file():
        return None
    try:
        kept = archive.read(path, ("vectors", "rows", "stamps"))
    except RecordingError:  # made anew: it was but a copy
        return None
    if len(kept) != 3 or kept["vectors"].shape != (len(kept["rows"]), dim) or len(kept["stamps"]) != len(kept["rows"]):
        return None
    rows, stamps = kept["rows"].tolist(), kept["stamps"].tolist()
    good = [at for at, row in enumerate(rows) if row < len(clips) and clips[row].stamp == stamps[at]]
    return Embedded(kept["vectors"][good], tuple(rows[at] for at in good))


def _write(path: Path, piece: Embedded, clips: Sequence[Clip]) -> None:
    rows, stamps = np.array(piece.rows, np.int64), np.array([clips[row].stamp for row in piece.rows], dtype=str)
    with atomic.file(path) as scratch, open(scratch, "wb") as stream:
        np.savez(stream, vectors=piece.vectors, rows=rows, stamps=stamps)


def _key(*parts: str) -> str:
    return hashlib.sha256(utf8.encoded("\n".join(parts))).hexdigest()


def _place(name: str, key: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-')[:60]}-{key[:16]}"
