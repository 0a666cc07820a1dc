"""Units that people record in, and the factors that make them SI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edgebind.errors import OptionError
from edgebind.preprocess.thermal import KELVIN_AT_ZERO_CELSIUS

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
"""Of tables."""

DISTANCE = {"m": (1.0, 0.0), "cm": (1e-2, 0.0), "mm": (1e-3, 0.0)}
"""Unit -> factor to metres, and what is added then."""
TEMPERATURE = {
    "°C": (1.0, 0.0),
    "K": (1.0, -KELVIN_AT_ZERO_CELSIUS),
    "dK": (1e-1, -KELVIN_AT_ZERO_CELSIUS),
    "cK": (1e-2, -KELVIN_AT_ZERO_CELSIUS),
}
"""Unit -> factor and what is added then, to °C. FLIR's Lepton writes cK (TLinear at 0.01 K), in low gain dK."""
FRAMES: Mapping[str, Mapping[str, tuple[float, float]]] = {"depth": DISTANCE, "thermal": TEMPERATURE}
"""Of the frames of a camera."""

KNOWN: Mapping[str, Mapping[str, object]] = {**QUANTITIES, **FRAMES}
OF_SENSOR = {"imu": ("acc", "gyro", "time"), "depth": ("depth",), "thermal": ("thermal",)}
"""Modality -> its quantities; others have none."""

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
    "metre": "m",
    "metres": "m",
    "meter": "m",
    "meters": "m",
    "millimetres": "mm",
    "millimeters": "mm",
    "c": "°C",
    "°c": "°C",
    "degc": "°C",
    "celsius": "°C",
    "k": "K",
    "kelvin": "K",
    "dk": "dK",
    "decikelvin": "dK",
    "ck": "cK",
    "centikelvin": "cK",
}
"""How people spell a unit -> how we do; only spellings that mean one thing."""


@dataclass(frozen=True)
class Units:
    """What the user says the units are; quantities left out are found from the columns' names, or are in SI units."""

    given: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """`acc`, `gyro`, `time`, `depth` or `thermal` -> unit."""

    def of(self, modality: str) -> Units:
        """Those of one sensor."""
        own = OF_SENSOR.get(modality, ())
        return Units({quantity: unit for quantity, unit in self.given.items() if quantity in own})


def parse(text: str) -> Units:
    """`acc=g,gyro=deg/s,time=ms`, `depth=mm` or `thermal=cK` -> units.

    Raises
    ------
    OptionError: an unknown quantity or unit, or one that is given twice.
    """
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        quantity, _, unit = (piece.strip() for piece in part.partition("="))
        if quantity not in KNOWN or quantity in given:
            raise OptionError(
                "units not understood", wanted=", ".join(f"{name}=UNIT" for name in KNOWN), got=repr(part)
            )
        found = normal(unit, KNOWN[quantity])
        if found is None:
            raise OptionError(f"unknown unit of {quantity}", wanted=" or ".join(KNOWN[quantity]), got=repr(unit))
        given[quantity] = found
    return Units(given)


def normal(unit: str, known: Mapping[str, object]) -> str | None:
    """Our spelling of `unit`, if it is one of `known`."""
    spelled = SPELLINGS.get(unit.lower(), unit.lower())
    return spelled if spelled in known else None
