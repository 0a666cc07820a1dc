"""What each sensor is: channels, units, rate, window and the input tensor of its ImageBind tower.

A bundle's manifest is the truth about that bundle (the starter's IMU window differs from ImageBind's); this table holds
what is true of a modality in ImageBind, and what is physically possible for its sensor in any space.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgebind.errors import OptionError


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sensor can physically report; outside, the units are wrong or the sensor is broken."""

    largest: float
    """Largest believable magnitude of a single value."""
    unit: str
    hint: str
    """What a value outside usually means."""


@dataclass(frozen=True, slots=True)
class Modality:
    """One sensor as ImageBind sees it."""

    name: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    input_shape: tuple[int, ...]
    """Shape of one input of the ImageBind tower, without the batch axis."""
    input_dtype: str = "float32"
    rate_hz: float = 1.0
    """Samples a second: the IMU's grid, audio's sampling rate, a camera's usual frame rate."""
    seconds: float = 1.0
    limits: tuple[Limits, ...] = ()
    """One for each group of channels of equal unit, in channel order."""
    is_camera: bool = False


ACCELERATION = Limits(2000.0, "m/s²", "larger than 200 g")
ROTATION = Limits(70.0, "rad/s", "values in degrees per second are read as rad/s?")

_ALL = (
    Modality(
        name="imu",
        channels=("ax", "ay", "az", "gx", "gy", "gz"),
        units=("m/s²", "m/s²", "m/s²", "rad/s", "rad/s", "rad/s"),
        input_shape=(6, 2000),
        rate_hz=400.0,
        seconds=5.0,
        limits=(ACCELERATION, ACCELERATION, ACCELERATION, ROTATION, ROTATION, ROTATION),
    ),
    Modality(
        name="thermal",
        channels=("intensity",),
        units=("°C or grey level",),
        input_shape=(1, 224, 224),
        rate_hz=8.0,
        seconds=0.125,
        is_camera=True,
    ),
    Modality(
        name="depth",
        channels=("distance",),
        units=("m",),
        input_shape=(1, 224, 224),
        rate_hz=30.0,
        seconds=1 / 30,
        is_camera=True,
    ),
    Modality(
        name="audio",
        channels=("pressure",),
        units=("full scale",),
        input_shape=(3, 1, 128, 204),
        rate_hz=16000.0,
        seconds=2.0,
    ),
    Modality(
        name="vision",
        channels=("red", "green", "blue"),
        units=("grey level",) * 3,
        input_shape=(3, 224, 224),
        rate_hz=30.0,
        seconds=1 / 30,
        is_camera=True,
    ),
    Modality(name="text", channels=("token",), units=("id",), input_shape=(77,), input_dtype="int64"),
)

MODALITIES: dict[str, Modality] = {modality.name: modality for modality in _ALL}


def get(name: str) -> Modality:
    """The modality called `name`.

    Raises
    ------
    OptionError: there is none of that name.
    """
    if name not in MODALITIES:
        raise OptionError("unknown modality", wanted=" or ".join(MODALITIES), got=repr(name))
    return MODALITIES[name]
