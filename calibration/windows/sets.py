"""Calibration sets: which recordings calibrate and judge INT8, and how their windows are drawn, as one JSON file.

Beside the recordings or anywhere else; paths are relative to the file. The recordings are named by their sha256, and a seed
draws the windows, so the same set calibrates on the same windows on any machine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgebind import atomic, utf8
from edgebind import manifest as manifests
from edgebind import modality as modalities
from edgebind.calibration.windows import strata
from edgebind.calibration.windows.strata import Aspect, Edges
from edgebind.errors import CalibrationError, EdgebindError, OptionError
from edgebind.manifest import WindowSpec
from edgebind.sources import units
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
    """For each aspect the values between its parts, see `edgebind.calibration.windows.strata`."""


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
        return hashlib.sha256(utf8.encoded(self.to_json())).hexdigest()

    def said(self) -> Units:
        return Units(dict(self.units))


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
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, EdgebindError) as error:
        raise CalibrationError(f"not a calibration set: {error}", where=file, wanted=FORMAT) from error


def _parsed(data: dict[str, Any]) -> CalibrationSet:
    if data.get("format") != FORMAT:
        raise ValueError(f"format {data.get('format')!r}")
    modality = modalities.get(data["modality"]).name
    members = tuple(_member(member) for member in data["recordings"])
    if not members:
        raise ValueError("no recordings")
    said = units.parse(",".join(f"{quantity}={unit}" for quantity, unit in data["units"].items()))
    return CalibrationSet(
        modality, parse_window(data["window"]), dict(said.given), members, _draw(data["draw"], strata.ASPECTS[modality])
    )


def parse_window(data: dict[str, Any]) -> WindowSpec:
    """A window from its JSON; ValueError, KeyError or TypeError if it is none."""
    numbers = [float(data[name]) for name in ("rate_hz", "seconds", "hop_seconds")]
    channels, of = tuple(map(str, data["channels"])), tuple(map(str, data["units"]))
    if not all(0 < number < 1e6 for number in numbers) or not channels or len(channels) != len(of):
        raise ValueError(f"window {data}")
    return WindowSpec(numbers[0], numbers[1], numbers[2], channels, of)


def _member(data: dict[str, Any]) -> Member:
    if data["role"] not in ROLES:
        raise ValueError(f"role {data['role']!r} of {data['path']}")
    return Member(str(data["path"]), str(data["sha256"]), data["role"], int(data["windows"]))


def _draw(data: dict[str, Any], aspects: Sequence[Aspect]) -> Draw:
    names = tuple(aspect.name for aspect in aspects)
    between = tuple(tuple(float(end) for end in ends) for ends in data["edges"])
    if tuple(data["aspects"]) != names or len(between) != len(names):
        raise ValueError(f"aspects {data['aspects']}")
    for ends, aspect in zip(between, aspects, strict=True):
        if len(ends) not in (0, len(aspect.words) - 1) or not all(a < b for a, b in itertools.pairwise(ends)):
            raise ValueError(f"edges {ends} of {aspect.name}")
    windows, seed = int(data["windows"]), int(data["seed"])
    if windows < 0 or seed < 0:
        raise ValueError(f"windows {windows}, seed {seed}")
    return Draw(windows, seed, names, between)


def write(made: CalibrationSet, file: Path) -> None:
    """Write a set whole or not at all.

    Raises
    ------
    StorageError: the disk is full or cannot be written.
    """
    atomic.write_text(file, made.to_json())


def place_of(member: Member, file: Path) -> Path:
    """Where a recording of the set in `file` lies."""
    return Path(os.path.normpath(file.parent.absolute() / member.path))


def verify(member: Member, place: Path) -> None:
    """Refuse a recording that is gone or has changed.

    Raises
    ------
    CalibrationError: it is not what the set names.
    """
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


def sha256_of(path: Path) -> str:
    """Of a file, or of the names and bytes of all pictures of a folder.

    Raises
    ------
    RecordingError: a folder without pictures.
    """
    digest = hashlib.sha256()
    for file in pictures_in(path) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(utf8.encoded(f"{file.name}\0{file.stat().st_size}\0"))
        with open(file, "rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def default_window(modality: str, bundle: Path | None = None) -> WindowSpec:
    """The window to look at recordings with: a bundle's, else the starter's of that sensor, else ImageBind's.

    Raises
    ------
    OptionError: a bundle of another modality.
    BundleError: no bundle.
    """
    from edgebind import starter

    if bundle is not None:
        found = manifests.read(bundle / manifests.FILE)
        if found.modality != modality:
            raise OptionError("the bundle is of another sensor", where=bundle, wanted=modality, got=found.modality)
        return found.window
    if modality in starter.MODALITIES:
        return manifests.read(starter.folder(modality, "fp32") / manifests.FILE).window
    return WindowSpec.of_imagebind(modality)
