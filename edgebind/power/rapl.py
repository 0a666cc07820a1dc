"""RAPL: what x86 processors count of their own energy, through Linux' powercap.

    /sys/class/powercap/intel-rapl:0/name                  package-0
    /sys/class/powercap/intel-rapl:0/energy_uj             262143328850
    /sys/class/powercap/intel-rapl:0/max_energy_range_uj   262143328850      where the counter begins again

AMD's processors appear under the same names. Since Linux 5.10 the counters are readable by root only (CVE-2020-8694).
"""

from __future__ import annotations

from pathlib import Path

from edgebind.errors import MissingDependencyError
from edgebind.power.meter import Reading

ROOT = Path("/sys/class/powercap")


class RaplMeter:
    """Counters of the processor's packages, grown on across the point where they begin again."""

    name = "rapl"
    covers = "processor package"

    def __init__(self, root: Path = ROOT) -> None:
        """Find the packages.

        Raises
        ------
        MissingDependencyError: there are none here, or they may not be read.
        """
        self._zones = {_text(zone / "name"): zone for zone in sorted(root.glob("intel-rapl:*")) if _is_package(zone)}
        if not self._zones:
            raise MissingDependencyError(
                "no RAPL counters under /sys/class/powercap", remedy="x86 has them, guests rarely do"
            )
        try:
            self._last = {name: _number(zone / "energy_uj") for name, zone in self._zones.items()}
            self._ranges = {name: _number(zone / "max_energy_range_uj") for name, zone in self._zones.items()}
        except OSError as error:
            remedy = "run as root, or let your group read energy_uj"
            raise MissingDependencyError(
                "RAPL's counters may not be read", where=error.filename, remedy=remedy
            ) from error
        self._grown = dict.fromkeys(self._zones, 0)

    def read(self) -> Reading:
        for name, zone in self._zones.items():
            now = _number(zone / "energy_uj")
            step = now - self._last[name]
            self._grown[name] += step if step >= 0 else step + self._ranges[name]
            self._last[name] = now
        return Reading({}, {name: grown / 1e6 for name, grown in self._grown.items()})

    def close(self) -> None:
        """Nothing is held open."""


def _is_package(zone: Path) -> bool:
    """Parts of a package, such as its cores, lie in zones with a second number, and must not be counted twice."""
    return _text(zone / "name").startswith("package")


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
