"""Calibration sets: which recordings calibrate and judge INT8, and how their windows are drawn, as one JSON file.

Beside the recordings or anywhere else; paths are relative to the file. The recordings are named by their sha256, and a seed
draws the windows, so the same set gives the same ranges on any machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import atomic
from edgebind import manifest as manifests
from edgebind import modality as modalities
from edgebind.calibration import finding, recordings, strata
from edgebind.calibration.diagnosis import Finding, Looked, diagnose, strata_of
from edgebind.calibration.scan import Scan, scan
from edgebind.calibration.strata import Edges
from edgebind.errors import CalibrationError, EdgebindError
from edgebind.manifest import WindowSpec
from edgebind.sources.pictures import pictures_in
from edgebind.sources.units import Units

FORMAT = "edgebind-calibration-set/1"
FILE = "calibration-set.json"

CALIBRATE, GATE, BOTH = "calibrate", "gate", "both"
ROLES = (CALIBRATE, GATE, BOTH)

WINDOWS = 512
"""To calibrate on, where nobody says."""


@dataclass(frozen=True, slots=True)
class Member:
    """One recording of a set."""

    path: str
    """Relative to the set's file, with slashes; a folder of pictures is one recording."""
    sha256: str
    role: str
    """`calibrate` or `gate`; `both` is cut in time, two thirds to calibrate and the last third to judge."""
    windows: int
    """As counted when the set was made."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How the windows to calibrate on are chosen among all."""

    windows: int = WINDOWS
    """At most so many; 0 takes all."""
    seed: int = 0
    aspects: tuple[str, ...] = ()
    edges: Edges = ()
    """For each aspect the values between its parts, see `edgebind.calibration.strata`."""


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """A set as its file has it."""

    modality: str
    window: WindowSpec
    """What the recordings were looked at with; a bundle of another window draws its own windows by the same rule."""
    units: dict[str, str]
    """What the user said of the recordings' units, as `--units`."""
    recordings: tuple[Member, ...]
    draw: Draw
    format: str = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @property
    def digest(self) -> str:
        """sha256 of all that the set says; two sets of one digest calibrate alike."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def said(self) -> Units:
        return Units(dict(self.units))


@dataclass(frozen=True, slots=True)
class Opened:
    """A set whose recordings were looked at."""

    set: CalibrationSet
    looked: tuple[Looked, ...]
    """One for each recording, in the set's order."""
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        return [found for found in self.findings if found.severity == "error"]


def file_of(path: Path) -> Path | None:
    """The set's file, if `path` is one or a folder with one in it."""
    if path.is_dir():
        return path / FILE if (path / FILE).is_file() else None
    return path if path.suffix == ".json" else None


def read(path: Path) -> CalibrationSet:
    """Read a set, or the one in a folder.

    Raises
    ------
    CalibrationError: no such file, or no set.
    """
    file = file_of(path)
    if file is None or not file.is_file():
        raise CalibrationError("no calibration set here", where=path, wanted=f"a folder with {FILE}")
    try:
        return _parsed(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, EdgebindError) as error:
        raise CalibrationError(f"not a calibration set: {error}", where=file, wanted=FORMAT) from error


def _parsed(data: dict[str, Any]) -> CalibrationSet:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r}")
    modality = modalities.get(data["modality"]).name
    window = data["window"]
    spec = WindowSpec(**{**window, "channels": tuple(window["channels"]), "units": tuple(window["units"])})
    members = tuple(Member(**member) for member in data["recordings"])
    wrong = next((member for member in members if member.role not in ROLES), None)
    if wrong is not None:
        raise ValueError(f"role {wrong.role!r} of {wrong.path}")
    draw = data["draw"]
    between = tuple(tuple(float(end) for end in ends) for ends in draw["edges"])
    names = tuple(aspect.name for aspect in strata.ASPECTS[modality])
    if tuple(draw["aspects"]) != names or len(between) != len(names):
        raise ValueError(f"aspects {draw['aspects']}")
    drawn = Draw(int(draw["windows"]), int(draw["seed"]), names, between)
    return CalibrationSet(modality, spec, dict(data["units"]), members, drawn)


def write(made: CalibrationSet, file: Path) -> None:
    """Write a set whole or not at all.

    Raises
    ------
    StorageError: the disk is full or cannot be written.
    """
    with atomic.file(file) as scratch:
        scratch.write_text(made.to_json(), encoding="utf-8")


def collect(
    paths: Sequence[Path],
    modality: str,
    spec: WindowSpec,
    *,
    home: Path,
    units: Units | None = None,
    windows: int = WINDOWS,
    seed: int = 0,
) -> Opened:
    """Make a set of some recordings: every third judges, the others calibrate.

    Parameters
    ----------
    home: folder that the set's file will lie in.
    windows: how many to draw, 0 for all.

    Raises
    ------
    CalibrationError: a path that does not exist, or without a recording of that modality.
    """
    found = finding.named(paths, modality)
    held = recordings.held_out([name for name, _ in found]) if len(found) > 1 else set()
    roles = [BOTH] if len(found) == 1 else [GATE if i in held else CALIBRATE for i in range(len(found))]
    places = [path for _, path in found]
    empty = CalibrationSet(modality, spec, dict((units or Units()).given), (), Draw(windows, seed))
    return _assembled(empty, places, roles, home)


def added(old: CalibrationSet, file: Path, recording: Path) -> Opened:
    """The set in `file` with one recording more; every third judges, and the others keep their part.

    Raises
    ------
    CalibrationError: a recording of the set is gone or has changed.
    """
    for member in old.recordings:
        _verify(member, place_of(member, file))
    role = BOTH if not old.recordings else GATE if len(old.recordings) % 3 == 2 else CALIBRATE
    places = [*(place_of(member, file) for member in old.recordings), recording]
    return _assembled(old, places, [*(member.role for member in old.recordings), role], file.parent)


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
    for member, place in zip(found.recordings, places, strict=True):
        _verify(member, place)
    names = finding.short_names(places)
    scans = [scan(name, place, found.modality, spec, found.said()) for name, place in zip(names, places, strict=True)]
    looked = tuple(_looked(seen, member) for seen, member in zip(scans, found.recordings, strict=True))
    return Opened(found, looked, tuple(diagnose(looked, found.modality, spec, found.draw.edges)))


def place_of(member: Member, file: Path) -> Path:
    """Where a recording of the set in `file` lies."""
    return Path(os.path.normpath(file.parent.absolute() / member.path))


def _verify(member: Member, place: Path) -> None:
    if not place.exists():
        raise CalibrationError("a recording of the set is gone", where=place, remedy="collect the set again")
    got = sha256_of(place)
    if got != member.sha256:
        raise CalibrationError(
            "a recording of the set has changed",
            where=place,
            wanted=f"sha256 {member.sha256[:12]}",
            got=got[:12],
            remedy="collect the set again",
        )


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


def sha256_of(path: Path) -> str:
    """Of a file, or of the names and bytes of all pictures of a folder.

    Raises
    ------
    RecordingError: a folder without pictures.
    """
    digest = hashlib.sha256()
    for file in pictures_in(path) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def default_window(modality: str, bundle: Path | None = None) -> WindowSpec:
    """The window to look at recordings with: a bundle's, else the starter's of that sensor, else ImageBind's."""
    from edgebind import starter

    if bundle is not None:
        return manifests.read(bundle / manifests.FILE).window
    if modality in starter.MODALITIES:
        return manifests.read(starter.folder(modality, "fp32") / manifests.FILE).window
    return WindowSpec.of_imagebind(modality)
