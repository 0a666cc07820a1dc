"""NVIDIA's `tegrastats`: one line an interval with rails, clocks and temperatures, in the words of the release at hand.

    JetPack 5   GR3D_FREQ 14%@[407,407] ... CV0@-256C CPU@77.281C ... VDD_GPU_SOC 3150mW/2971mW ...
    JetPack 6   GR3D_FREQ 99%@[612]     ... cpu@57.125C ...           VDD_IN 16321mW/11204mW ...
    JetPack 7   GR3D_FREQ @[314,314,314]... cpu@52.968C/52.968C ...   VIN 87426mW/43713mW/87426mW

Of the numbers between slashes the first is of this moment, the second the mean since the start; JetPack 7 adds the peak.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO

from edgebind.errors import MissingDependencyError
from edgebind.power.meter import Reading, total_watts

PROGRAM = "tegrastats"
INTERVAL_MS = 100
PATIENCE_S = 5.0

_RAIL = re.compile(r"(?<!\S)([A-Z]\w*) (-?\d+)(?:mW(?:/-?\d+mW)*|(?:/-?\d+)+)(?!\S)")
"""`VDD_IN 4761mW/4778mW`, a rail without a mean, and JetPack 4's `POM_5V_IN 2003/2003`."""
_TEMPERATURE = re.compile(r"(?<!\S)(\w+)@(-?\d+(?:\.\d+)?)C\b")
_CLOCK = re.compile(r"(?<!\S)(EMC_FREQ|GR3D_FREQ|GR3D2_FREQ) (?:\d+%)?@\[?(\d+(?:,\d+)*)\]?")
_CORES = re.compile(r"(?<!\S)CPU \[([^\]]*)\](?:@(\d+))?")
_UNCONNECTED = "NC"
"""A channel that measures nothing."""
_UNPOWERED_C = -256.0
"""What the sensor of a part reads that has no power."""


def parse(line: str) -> Reading | None:
    """Watts, megahertz and degrees Celsius of one line; None for a line without any of them."""
    watts = {rail: int(value) / 1000 for rail, value in _RAIL.findall(line) if rail != _UNCONNECTED}
    temperatures = {name.lower(): float(value) for name, value in _TEMPERATURE.findall(line)}
    temperatures = {name: value for name, value in temperatures.items() if value != _UNPOWERED_C}
    clocks = _clocks(line)
    return Reading(watts, {}, clocks, temperatures) if watts or clocks or temperatures else None


def _clocks(line: str) -> dict[str, float]:
    """Of the memory, the GPU (of several clusters the fastest) and the fastest core that is on."""
    found = {
        name.removesuffix("_FREQ").lower(): float(max(map(int, values.split(","))))
        for name, values in _CLOCK.findall(line)
    }
    cores = _CORES.search(line)
    if cores is not None:
        speeds = [int(speed) for speed in re.findall(r"%@(\d+)", cores[1])] or [int(cores[2] or 0)]
        found |= {"cpu": float(max(speeds))} if max(speeds) else {}
    return found


class TegrastatsMeter:
    """A running tegrastats, of which the newest line counts."""

    name = PROGRAM
    covers = "whole module"

    def __init__(self, command: Sequence[str] = (PROGRAM, "--interval", str(INTERVAL_MS))) -> None:
        """Start it and wait for its first line.

        Raises
        ------
        MissingDependencyError: there is no such program here, or it tells no power.
        """
        if shutil.which(command[0]) is None:
            raise MissingDependencyError("no tegrastats on this machine", remedy="Jetsons have it from JetPack")
        self._newest: Reading | None = None
        self._arrived = threading.Event()
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None  # PIPE above
        self._reader = threading.Thread(target=self._follow, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self._arrived.wait(PATIENCE_S)
        if self._newest is None or total_watts(self._newest.watts) is None:
            self.close()
            raise MissingDependencyError(
                "tegrastats tells no power here", remedy="some images show the rails to root only"
            )

    def _follow(self, lines: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # closed while it was being read
            for line in lines:
                reading = parse(line)
                if reading is not None:
                    self._newest = reading
                    self._arrived.set()
        self._arrived.set()

    def read(self) -> Reading:
        return self._newest or Reading()

    def close(self) -> None:
        self._process.terminate()
        _within(PATIENCE_S, self._process.wait, self._process.kill)
        self._reader.join(PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _within(seconds: float, wait: Callable[..., object], otherwise: Callable[[], object]) -> None:
    try:
        wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        otherwise()
        wait()
