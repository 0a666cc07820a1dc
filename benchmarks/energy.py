"""Energy an embedding costs: each contestant alone for a while, with a meter beside it, and the idle machine before.

Calls of two contestants cannot take turns here: a meter sees tens of milliseconds, not one call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from edgebind.power.recorder import Recorder

LEAST_S = 2.0
"""Shorter runs are of a few of the meter's own steps (NVML's is 20 to 100 ms) and prove nothing."""


def measure(
    recorder: Recorder,
    calls: Mapping[str, Callable[[], object]],
    batch: int,
    *,
    seconds: float,
    idle_s: float = LEAST_S,
) -> dict[str, dict[str, Any]]:
    """Millijoules a window of each contestant.

    Returns
    -------
    Contestant -> `mj_per_embedding`, all that the meter saw; `above_idle_mj`, without what it saw at rest; `watts` and
    `idle_watts`; `meter` and what it `covers`; and where the meter tells them, `clocks_mhz` and `temperatures_c` at the end,
    and `throttled`, what holds the clocks back at that moment.
    """
    idle = _watts(recorder, lambda: time.sleep(idle_s))
    return {name: _one(recorder, call, batch, max(seconds, LEAST_S), idle) for name, call in calls.items()}


def _one(recorder: Recorder, call: Callable[[], object], batch: int, seconds: float, idle: float) -> dict[str, Any]:
    count = 0
    start = time.monotonic_ns()
    while time.monotonic_ns() - start < seconds * 1e9:
        call()
        count += 1
    stop = time.monotonic_ns()
    joules, took = recorder.joules(start, stop), (stop - start) / 1e9
    windows = count * batch
    return {
        "mj_per_embedding": round(joules / windows * 1e3, 4),
        "above_idle_mj": round((joules - idle * took) / windows * 1e3, 4),
        "watts": round(joules / took, 3),
        "idle_watts": round(idle, 3),
        "windows": windows,
        "meter": recorder.meter.name,
        "covers": recorder.meter.covers,
        **_state(recorder),
    }


def _state(recorder: Recorder) -> dict[str, Any]:
    newest = recorder.newest()
    throttled: list[str] = getattr(recorder.meter, "throttled", list)()
    found = {
        "clocks_mhz": dict(newest.clocks_mhz),
        "temperatures_c": dict(newest.temperatures_c),
        "throttled": throttled,
    }
    return {name: value for name, value in found.items() if value}


def _watts(recorder: Recorder, action: Callable[[], object]) -> float:
    start = time.monotonic_ns()
    action()
    stop = time.monotonic_ns()
    return recorder.joules(start, stop) / ((stop - start) / 1e9)
