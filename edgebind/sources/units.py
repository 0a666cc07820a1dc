"""Units that people record in, and the factors that make them SI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edgebind.errors import OptionError

STANDARD_GRAVITY = 9.80665
"""m/s², by definition (CGPM 1901)."""
DEGREE = 0.017453292519943295
"""rad."""

ACCELERATION = {
    "m/s²": 1.0,
    "mm/s²": 1e-3,
    "cm/s²": 1e-2,
    "g": STANDARD_GRAVITY,
    "mg": STANDARD_GRAVITY / 1000,
}
"""Unit -> m/s²."""
ROTATION = {"rad/s": 1.0, "mrad/s": 1e-3, "deg/s": DEGREE, "mdeg/s": DEGREE / 1000}
"""Unit -> rad/s."""
TIME = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
"""Unit -> nanoseconds."""

QUANTITIES: Mapping[str, Mapping[str, float]] = {"acc": ACCELERATION, "gyro": ROTATION, "time": TIME}

SPELLINGS = {
    "m/s2": "m/s²",
    "m/s^2": "m/s²",
    "m/s/s": "m/s²",
    "mps2": "m/s²",
    "ms2": "m/s²",
    "m_s2": "m/s²",
    "m_s_2": "m/s²",
    "gs": "g",
    "rad": "rad/s",
    "rads": "rad/s",
    "rps": "rad/s",
    "radps": "rad/s",
    "rad_s": "rad/s",
    "rad_per_s": "rad/s",
    "°/s": "deg/s",
    "deg": "deg/s",
    "dps": "deg/s",
    "degps": "deg/s",
    "deg_s": "deg/s",
    "deg_per_s": "deg/s",
    "mdps": "mdeg/s",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "msec": "ms",
    "millis": "ms",
    "milliseconds": "ms",
    "µs": "us",
    "usec": "us",
    "micros": "us",
    "microseconds": "us",
    "nsec": "ns",
    "nanos": "ns",
    "nanoseconds": "ns",
}
"""How people spell a unit -> how we do; only spellings that mean one thing."""


@dataclass(frozen=True)
class Units:
    """What the user says the units are; quantities left out are found from the columns' names."""

    given: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """`acc`, `gyro` or `time` -> unit."""


def parse(text: str) -> Units:
    """`acc=g,gyro=deg/s,time=ms` -> units.

    Raises
    ------
    OptionError: an unknown quantity or unit, or one that is given twice.
    """
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        quantity, _, unit = (piece.strip() for piece in part.partition("="))
        if quantity not in QUANTITIES or quantity in given:
            raise OptionError("units not understood", wanted="acc=UNIT, gyro=UNIT, time=UNIT", got=repr(part))
        found = normal(unit, QUANTITIES[quantity])
        if found is None:
            raise OptionError(f"unknown unit of {quantity}", wanted=" or ".join(QUANTITIES[quantity]), got=repr(unit))
        given[quantity] = found
    return Units(given)


def normal(unit: str, known: Mapping[str, float]) -> str | None:
    """Our spelling of `unit`, if it is one of `known`."""
    spelled = SPELLINGS.get(unit.lower(), unit.lower())
    return spelled if spelled in known else None
