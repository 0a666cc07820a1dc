"""A calibration set with its recordings looked at: made of some, read again, or grown by one; and what it draws."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from edgebind.calibration.windows import finding, recordings, strata
from edgebind.calibration.windows.diagnosis import ERROR, Finding, Looked, diagnose, strata_of
from edgebind.calibration.windows.scan import Scan, scan
from edgebind.calibration.windows.sets import (
    BOTH,
    CALIBRATE,
    GATE,
    WINDOWS,
    CalibrationSet,
    Draw,
    Member,
    file_of,
    parse_window,
    place_of,
    read,
    sha256_of,
    verify,
)
from edgebind.manifest import WindowSpec
from edgebind.sources.units import Units


@dataclass(frozen=True, slots=True)
class Opened:
    """A set whose recordings were looked at."""

    set: CalibrationSet
    looked: tuple[Looked, ...]
    """One for each recording, in the set's order."""
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        return [found for found in self.findings if found.severity == ERROR]


def collect(
    paths: Sequence[Path],
    modality: str,
    spec: WindowSpec,
    *,
    home: Path,
    said: Units | None = None,
    windows: int = WINDOWS,
    seed: int = 0,
) -> Opened:
    """Make a set of some recordings: every third judges, the others calibrate.

    Parameters
    ----------
    home: folder that the set's file will lie in.
    said: units of the recordings, where they are not SI.
    windows: how many to draw, 0 for all.

    Raises
    ------
    CalibrationError: a path that does not exist, or without a recording of that modality.
    """
    found = finding.named(paths, modality)
    held = recordings.held_out([name for name, _ in found]) if len(found) > 1 else set()
    roles = [BOTH] if len(found) == 1 else [GATE if i in held else CALIBRATE for i in range(len(found))]
    places = [path for _, path in found]
    empty = CalibrationSet(modality, parse_window(asdict(spec)), dict((said or Units()).given), (), Draw(windows, seed))
    return _assembled(empty, places, roles, home)


def added(old: CalibrationSet, file: Path, recording: Path) -> Opened:
    """The set in `file` with one recording more; every third judges, and the others keep their part.

    Raises
    ------
    CalibrationError: a recording of the set is gone or has changed.
    """
    require_unchanged(old, file)
    role = BOTH if not old.recordings else GATE if len(old.recordings) % 3 == 2 else CALIBRATE
    places = [*(place_of(member, file) for member in old.recordings), recording]
    return _assembled(old, places, [*(member.role for member in old.recordings), role], file.parent)


def require_unchanged(old: CalibrationSet, file: Path) -> None:
    """Refuse a set of which a recording is gone or has changed.

    Raises
    ------
    CalibrationError: the first such recording.
    """
    for member in old.recordings:
        verify(member, place_of(member, file))


def _assembled(old: CalibrationSet, places: Sequence[Path], roles: Sequence[str], home: Path) -> Opened:
    """A set of the recordings at `places`, all else as in `old`; the strata are found anew."""
    names = finding.short_names(places)
    scans = [scan(name, path, old.modality, old.window, old.said()) for name, path in zip(names, places, strict=True)]
    members = tuple(
        Member(Path(os.path.relpath(path, home)).as_posix(), sha256_of(path), role, len(seen))
        for path, role, seen in zip(places, roles, scans, strict=True)
    )
    looked = tuple(_looked(seen, member) for seen, member in zip(scans, members, strict=True))
    aspects = tuple(aspect.name for aspect in strata.ASPECTS[old.modality])
    values = [each.scan.aspects[each.calibrates] for each in looked]
    draw = replace(old.draw, aspects=aspects, edges=strata.edges(old.modality, np.concatenate(values)))
    made = replace(old, recordings=members, draw=draw)
    return Opened(made, looked, tuple(diagnose(looked, old.modality, old.window, draw.edges)))


def open_set(path: Path, spec: WindowSpec | None = None) -> Opened:
    """Read a set, check the hashes of its recordings and look at every window.

    Parameters
    ----------
    spec: windows to look at; None takes those the set was made with.

    Raises
    ------
    CalibrationError: no set, or a recording that is gone or has changed.
    """
    found = read(path)
    file = file_of(path)
    assert file is not None
    spec = found.window if spec is None else spec
    places = [place_of(member, file) for member in found.recordings]
    require_unchanged(found, file)
    names = finding.short_names(places)
    scans = [scan(name, place, found.modality, spec, found.said()) for name, place in zip(names, places, strict=True)]
    looked = tuple(_looked(seen, member) for seen, member in zip(scans, found.recordings, strict=True))
    return Opened(found, looked, tuple(diagnose(looked, found.modality, spec, found.draw.edges)))


def _looked(seen: Scan, member: Member) -> Looked:
    everything, nothing = np.ones(len(seen), bool), np.zeros(len(seen), bool)
    if seen.fault is not None or not len(seen):
        return Looked(seen, member.sha256, nothing, nothing)
    if member.role == BOTH:
        stop, start = recordings.cut(seen.start_ns, seen.stop_ns)
        return Looked(seen, member.sha256, seen.stop_ns <= stop, seen.start_ns >= start)
    calibrates = member.role == CALIBRATE
    return Looked(seen, member.sha256, everything if calibrates else nothing, nothing if calibrates else everything)


def drawn(opened: Opened) -> list[np.ndarray]:
    """For each recording the numbers of the windows that calibrate, rising; the set's seed decides."""
    places = [np.flatnonzero(each.calibrates) for each in opened.looked]
    if opened.set.draw.windows == 0:
        return places
    values = [each.scan.aspects[own] for each, own in zip(opened.looked, places, strict=True)]
    found = strata.place(np.concatenate(values), opened.set.draw.edges)
    chosen = strata.draw(found, opened.set.draw.windows, opened.set.draw.seed)
    ends = np.cumsum([len(own) for own in places])
    parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    return [own[part - (end - len(own))] for own, part, end in zip(places, parts, ends, strict=True)]


def strata_drawn(opened: Opened, places: Sequence[np.ndarray] | None = None) -> dict[str, tuple[int, int]]:
    """What people call each stratum -> (windows that are drawn of it, all that calibrate); `places` as `drawn` gives them."""
    edges, modality = opened.set.draw.edges, opened.set.modality
    chosen = drawn(opened) if places is None else places
    values = [each.scan.aspects[own] for each, own in zip(opened.looked, chosen, strict=True)]
    taken = Counter(strata.place(np.concatenate(values), edges).tolist())
    of = strata_of(opened.looked, edges, judged=False)
    return {strata.title(modality, kind, edges): (taken[kind], of[kind]) for kind in sorted(of)}
