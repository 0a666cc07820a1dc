"""INA3221 power monitors of a Jetson through Linux' hwmon: volts times amperes, without a program in between.

    /sys/class/hwmon/hwmon3/name          ina3221
    /sys/class/hwmon/hwmon3/in1_label     VDD_IN
    /sys/class/hwmon/hwmon3/in1_input     5040      mV
    /sys/class/hwmon/hwmon3/curr1_input   1104      mA

JetPack 5 and later use the mainline driver, whose names these are (Documentation/hwmon/ina3221.rst). AGX Thor's VIN is
measured by an INA238, which gives `power1_input` in microwatts (Documentation/hwmon/ina238.rst).
"""

from __future__ import annotations

from pathlib import Path

from edgebind.errors import MissingDependencyError
from edgebind.power.meter import Reading, total_watts

ROOT = Path("/sys/class/hwmon")
CHIPS = ("ina3221", "ina238")
UNUSED = ("NC", "sum of shunt voltages")
"""Labels of channels that measure no rail."""


class HwmonMeter:
    """Every labelled channel of the board's power monitors."""

    name = "ina3221"
    covers = "whole module"

    def __init__(self, root: Path = ROOT) -> None:
        """Find the channels.

        Raises
        ------
        MissingDependencyError: there are none here, or those there are do not add up to a module.
        """
        self._channels = dict(_channels(root))
        if not self._channels:
            raise MissingDependencyError("no INA3221 power monitor under /sys/class/hwmon", remedy="Jetsons have one")
        if total_watts(self.read().watts) is None:
            raise MissingDependencyError(
                "the power monitor's rails are not known to add up", got=sorted(self._channels)
            )

    def read(self) -> Reading:
        return Reading({rail: _watts(*files) for rail, files in self._channels.items()})

    def close(self) -> None:
        """Nothing is held open."""


def _channels(root: Path) -> dict[str, tuple[Path, ...]]:
    """Rail -> its file of microwatts, or its two of millivolts and milliamperes."""
    found: dict[str, tuple[Path, ...]] = {}
    for chip in sorted(root.glob("hwmon*")):
        if _text(chip / "name") not in CHIPS:
            continue
        for label in sorted(chip.glob("in*_label")):
            number, rail = label.name.removeprefix("in").removesuffix("_label"), _text(label)
            power, volts, amperes = (chip / f"{kind}{number}_input" for kind in ("power", "in", "curr"))
            if power.is_file():
                found[rail] = (power,)
            elif amperes.is_file() and rail and rail not in UNUSED:
                found[rail] = (volts, amperes)
    return found


def _watts(*files: Path) -> float:
    """Microwatts, or millivolts times milliamperes, which are microwatts too. A channel that is switched off draws nothing."""
    product = 1
    for file in files:
        try:
            product *= int(_text(file) or 0)
        except ValueError:
            return 0.0
    return product / 1e6


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
