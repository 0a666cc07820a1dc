"""Which column of a table is what. The tables are plain data: a new logger's spelling is one more line.

Names are compared after `plain`: lower case, without quotes, with `_` for anything else, their unit split off and their
axis as one letter at the place of `{axis}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from edgebind.errors import OptionError, RecordingError
from edgebind.sources import units
from edgebind.sources.units import Units

AXES = ("x", "y", "z")

ACCELERATION = (
    "raw_acceleration_{axis}",
    "linear_acceleration_{axis}",
    "acceleration_{axis}",
    "accelerometer_{axis}",
    "accel_{axis}",
    "acc_{axis}",
    "a_{axis}",
    "a{axis}",
    "acc{axis}",
    "accel{axis}",
    "{axis}_acc",
    "{axis}_accel",
    "{axis}_acceleration",
    "acceleration{axis}",
    "accelerometer{axis}",
    "imu_acc_{axis}",
    "imu_accel_{axis}",
    "imu_a{axis}",
)
ROTATION = (
    "raw_angular_rate_{axis}",
    "angular_velocity_{axis}",
    "angular_rate_{axis}",
    "rotation_rate_{axis}",
    "gyroscope_{axis}",
    "gyro_{axis}",
    "gyr_{axis}",
    "g_{axis}",
    "w_{axis}",
    "w{axis}",
    "g{axis}",
    "gyro{axis}",
    "gyr{axis}",
    "{axis}_gyro",
    "{axis}_gyr",
    "omega_{axis}",
    "gyroscope{axis}",
    "imu_gyro_{axis}",
    "imu_gyr_{axis}",
    "imu_g{axis}",
)
TIME = (
    "header_stamp",
    "timestamp",
    "time",
    "stamp",
    "t",
    "unix_time",
    "time_stamp",
    "epoch",
    "sample_time",
    "datetime",
)
"""The sensor's own stamp before the logger's."""

CHANNELS: Mapping[str, tuple[str, int]] = {
    **{f"a{axis}": ("acc", number) for number, axis in enumerate(AXES)},
    **{f"g{axis}": ("gyro", number) for number, axis in enumerate(AXES)},
}
"""Channel of a bundle -> quantity and axis."""

NAMES = {"acc": ACCELERATION, "gyro": ROTATION}
DEFAULT_UNITS = {"acc": "m/s²", "gyro": "rad/s"}

_BRACKETED = re.compile(r"^(.*?)\s*[\[(]([^\])]+)[\])]\s*$")
_NOT_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    index: int
    title: str
    """As it stands in the file."""
    name: str
    """As it is compared."""
    unit: str
    """What its title says, in our spelling, with the quantity's default if it says nothing; empty for a time that says
    nothing."""
    is_stated: bool = False
    """Whether the title or the user says the unit."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where time and channels stand in a table."""

    time: Column | None
    channels: tuple[Column, ...]
    """In the bundle's order."""
    factors: tuple[float, ...]
    """File's unit -> SI, one for each channel."""


def find(titles: Sequence[str], channels: Sequence[str], said: Units, where: str) -> Layout:
    """Find `channels` and the time among the `titles` of a table.

    Raises
    ------
    RecordingError: a channel has no column.
    OptionError: the bundle wants a channel that no table can have.
    """
    unknown = [channel for channel in channels if channel not in CHANNELS]
    if unknown:
        raise OptionError("no table can hold this channel", where=where, wanted=", ".join(CHANNELS), got=unknown[0])
    found = {quantity: _triple(titles, quantity, said) for quantity in dict.fromkeys(CHANNELS[c][0] for c in channels)}
    missing = [channel for channel in channels if found[CHANNELS[channel][0]] is None]
    if missing:
        raise RecordingError(
            f"columns of {', '.join(missing)} are missing",
            where=where,
            wanted=f"such as {', '.join(_example(channel) for channel in missing[:3])}",
            got=_shortened(titles),
        )
    chosen = tuple((found[CHANNELS[c][0]] or ())[CHANNELS[c][1]] for c in channels)
    factors = tuple(units.QUANTITIES[CHANNELS[c][0]][column.unit] for c, column in zip(channels, chosen, strict=True))
    return Layout(_time(titles, said), chosen, factors)


def bare(count: int, channels: Sequence[str], said: Units, where: str) -> Layout:
    """The layout of a table without titles: exactly the bundle's channels, in its order.

    Raises
    ------
    RecordingError: another number of columns.
    """
    if count != len(channels):
        raise RecordingError(
            "no line of column titles",
            where=where,
            wanted=f"titles, or {len(channels)} columns: {', '.join(channels)}",
            got=f"{count} columns of numbers",
        )
    return find(list(channels), channels, said, where)


def plain(title: str) -> tuple[str, str]:
    """A column's title -> the name it is compared by, and the unit it states (as written, or empty)."""
    text = title.strip().strip("\"'%# ").lower()
    unit = ""
    bracket = _BRACKETED.match(text)
    if bracket and bracket[2] in ("0", "1", "2"):
        text = f"{bracket[1]}_{AXES[int(bracket[2])]}"
    elif bracket:
        text, unit = bracket[1], bracket[2].strip()
    name = _NOT_WORD.sub("_", text).strip("_").removeprefix("field_")
    return name, unit


def _triple(titles: Sequence[str], quantity: str, said: Units) -> tuple[Column, Column, Column] | None:
    """The columns of the three axes, under the first spelling that has them all."""
    known = units.QUANTITIES[quantity]
    readings: dict[str, Column] = {}
    for index, title in enumerate(titles):
        for name, unit in _readings(title, known):
            spoken = said.given.get(quantity) or unit
            column = Column(index, title, name, spoken or DEFAULT_UNITS[quantity], bool(spoken))
            readings.setdefault(name, column)
    for pattern in NAMES[quantity]:
        columns = [readings.get(pattern.format(axis=axis)) for axis in AXES]
        if None not in columns:
            return columns[0], columns[1], columns[2]  # type: ignore[return-value]
    return None


def _readings(title: str, known: Mapping[str, float]) -> list[tuple[str, str | None]]:
    """What a title may mean: its whole name, and its name without a unit at its end or before its axis."""
    name, unit = plain(title)
    readings: list[tuple[str, str | None]] = [(name, units.normal(unit, known) if unit else None)]
    for ending, found in _endings(tuple(known)):
        if name.endswith(ending):
            readings.append((name.removesuffix(ending), found))
        elif name[:-2].endswith(ending) and name[-2:] in ("_x", "_y", "_z"):
            readings.append((name[:-2].removesuffix(ending) + name[-2:], found))
    return readings


@cache
def _endings(known: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """How a compared name may end that states one of the units `known`, and that unit."""
    spelled = {spelling: units.normal(spelling, dict.fromkeys(known)) for spelling in (*units.SPELLINGS, *known)}
    endings = (("_" + _NOT_WORD.sub("_", spelling), unit) for spelling, unit in spelled.items() if unit is not None)
    return tuple((ending, unit) for ending, unit in endings if ending != "_")


def _time(titles: Sequence[str], said: Units) -> Column | None:
    """The column of time: the first of the usual names."""
    found: dict[str, Column] = {}
    for index, title in enumerate(titles):
        for name, unit in _readings(title, units.TIME):
            spoken = said.given.get("time") or unit
            found.setdefault(name, Column(index, title, name, spoken or "", bool(spoken)))
    # rostopic echo -p calls its own clock %time and writes nanoseconds.
    return next((found[name] for name in TIME if name in found), None)


def _example(channel: str) -> str:
    quantity, axis = CHANNELS[channel]
    return f"{quantity}_{AXES[axis]}"


def _shortened(titles: Sequence[str]) -> str:
    names = [title.strip() for title in titles]
    text = ", ".join(names[:12]) + (f", ... ({len(names)} columns)" if len(names) > 12 else "")
    return text[:300]
