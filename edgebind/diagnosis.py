"""What is different about a drifted sensor, in words an engineer can act on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgebind.reference import OF_VECTORS, Reference
from edgebind.traits import GRAVITY

STANDARD_GRAVITY = 9.80665
UNITS = {
    ("ax", 1 / STANDARD_GRAVITY): "is acceleration in g? Give --units acc=g",
    ("ax", 1000 / STANDARD_GRAVITY): "is acceleration in mg? Give --units acc=mg",
    ("gx", math.degrees(1)): "is rotation in deg/s? Give --units gyro=deg/s",
}
"""(first channel, gain) -> what a gain of that size means."""
CLOSE = math.log(1.1)
"""Gains of gravity that are closer than this are the same gain."""
LOOSE = math.log(2.5)
"""The same of spreads, which also depend on what the sensor did."""
DEAD = math.log(1000)
"""A spread that fell by this is of a channel that stands still."""
MOST = 3
"""Reasons that are told."""


def why(of: Reference, averages: NDArray[np.float64], guilty: Sequence[int]) -> str:
    """What is different.

    Parameters
    ----------
    averages: (traits,) over the block.
    guilty: places of the traits that differ too much, the worst first.
    """
    names = [of.names[place] for place in guilty]
    apart = dict(zip(of.names, averages - of.centre, strict=True))
    found = dict(zip(of.names, averages, strict=True))
    told = [_unit(names, apart), _dead(names, apart), _orientation(of, names, found, apart)]
    said = [reason for reason in told if reason]
    if not said:
        said = [_plain(of, name, found[name]) for name in names if name not in OF_VECTORS]
    if not said:
        return "its vectors lie where none of the calibration's did, though each channel looks as it did"
    return "; ".join(said[:MOST])


def _unit(names: Sequence[str], apart: dict[str, float]) -> str:
    for (channel, gain), hint in UNITS.items():
        if channel == "ax" and GRAVITY in names and abs(apart[GRAVITY] - math.log(gain)) < CLOSE:
            return f"gravity is {math.exp(apart[GRAVITY]):.3g} times what it was: {hint}"
        spreads = [value for name, value in apart.items() if name.startswith("spread of g")]
        turned = any(name.startswith("spread of g") for name in names)
        if channel == "gx" and turned and abs(float(np.median(spreads)) - math.log(gain)) < LOOSE:
            return f"rotation is {math.exp(float(np.median(spreads))):.3g} times what it was: {hint}"
    return ""


def _dead(names: Sequence[str], apart: dict[str, float]) -> str:
    dead = [name.removeprefix("spread of ") for name in names if name.startswith("spread of ") and apart[name] < -DEAD]
    return f"{', '.join(dead)} {'stands' if len(dead) == 1 else 'stand'} still" if dead else ""


def _orientation(of: Reference, names: Sequence[str], found: dict[str, float], apart: dict[str, float]) -> str:
    """Gravity as strong as ever and along another axis."""
    levels = [f"level of {channel}" for channel in of.channels[:3]]
    if of.modality != "imu" or GRAVITY in names or not any(name in names for name in levels):
        return ""
    now = np.array([found[name] for name in levels])
    return f"gravity lies along {_axis(of, now)}, where it lay along {_axis(of, now - [apart[n] for n in levels])}"


def _axis(of: Reference, acceleration: NDArray[np.float64]) -> str:
    place = int(np.abs(acceleration).argmax())
    return f"{'+' if acceleration[place] > 0 else '-'}{of.channels[place][-1]}"


def _plain(of: Reference, name: str, found: float) -> str:
    usual = float(of.centre[of.names.index(name)])
    kind, _, channel = name.partition(" of ")
    unit = of.units[of.channels.index(channel)] if channel else of.units[0]
    if kind == "level":
        return f"{channel} is {found:.3g} {unit} on average, was {usual:.3g}"
    found, usual = math.exp(found), math.exp(usual)
    if kind == "spread":
        return f"{channel} varies by {found:.2g} {unit}, was {usual:.2g}"
    if kind == "detail":
        return f"{channel} is {'sharper' if found > usual else 'more blurred'}: detail {found:.2g}, was {usual:.2g}"
    return f"gravity is {found:.3g} {unit}, was {usual:.3g}"
