"""What decides how fast and hungry a machine may be: power mode, clocks, temperatures, and what has held it back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

SYS = Path("/sys")
PATIENCE_S = 5.0


def describe(root: Path = SYS) -> dict[str, Any]:
    """What this machine tells of itself, only what it tells: `power_mode`, `clocks_mhz`, `temperatures_c`, `throttles`."""
    found = {
        "power_mode": power_mode(),
        "clocks_mhz": _clocks(root),
        "temperatures_c": _temperatures(root),
        "throttles": throttles(root),
    }
    return {name: value for name, value in found.items() if value}


def power_mode(program: str = "nvpmodel") -> str | None:
    """A Jetson's power mode, such as `MAXN (0)`; None where there is no `nvpmodel`, or it does not answer."""
    if shutil.which(program) is None:
        return None
    try:
        done = subprocess.run([program, "-q"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_power_mode(done.stdout)


def parse_power_mode(text: str) -> str | None:
    """Of `nvpmodel -q`: a line `NV Power Mode: 25W`, then the mode's number."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for at, line in enumerate(lines):
        _, found, name = line.partition("NV Power Mode:")
        if found:
            number = lines[at + 1] if at + 1 < len(lines) and lines[at + 1].isdigit() else ""
            return f"{name.strip()} ({number})" if number else name.strip()
    return None


def throttles(root: Path = SYS) -> dict[str, int]:
    """How often the machine was held back since it started: over-current events of a Jetson, thermal ones of x86.

    Two looks, one before and one after a run, tell whether the run was.
    """
    events = {path.name.removesuffix("_event_cnt"): path for path in root.glob("class/hwmon/hwmon*/oc*_event_cnt")}
    cores = root.glob("devices/system/cpu/cpu*/thermal_throttle/package_throttle_count")
    counted = {name: _number(path) for name, path in sorted(events.items())}
    found = {name: value for name, value in counted.items() if value is not None}
    packages = [value for value in map(_number, cores) if value is not None]
    return found | ({"thermal": max(packages)} if packages else {})


def held_back(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    """Which counters of two `describe()` rose between them, and by how much."""
    first, last = before.get("throttles", {}), after.get("throttles", {})
    return {name: count - first.get(name, 0) for name, count in last.items() if count > first.get(name, 0)}


def _clocks(root: Path) -> dict[str, float]:
    """Megahertz: the fastest core at this moment, and the devices that scale, such as a Jetson's GPU."""
    cores = [_number(path) for path in root.glob("devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")]
    fastest = max((core for core in cores if core is not None), default=None)
    found = {} if fastest is None else {"cpu": fastest / 1e3}
    for path in sorted(root.glob("class/devfreq/*/cur_freq")):
        hertz = _number(path)
        if hertz is not None:
            found[path.parent.name] = hertz / 1e6
    return found


def _temperatures(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted(root.glob("class/thermal/thermal_zone*")):
        milli = _number(zone / "temp")
        if milli is not None and milli > -200_000:  # parts without power read -256
            found[_text(zone / "type").removesuffix("-thermal").lower()] = milli / 1e3
    return found


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
