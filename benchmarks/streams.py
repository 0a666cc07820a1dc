"""Several callers at once, as several sensors on one device are: what each waits, and what all get together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgebind.benchmarks.latency import KEPT, thinned

Call = Callable[[], object]
SLICES = 10
"""Turns of each contestant: callers of two contestants never run together, so they cannot take turns call by call."""


def race(contestants: Mapping[str, Sequence[Call]], *, seconds: float, warmup: int = 3) -> list[dict[str, Any]]:
    """Let the callers of each contestant run side by side, contestant after contestant, slice after slice.

    Parameters
    ----------
    contestants: name -> one call for each caller; calls of one contestant must bear to be made at once.
    seconds: how long the race lasts in all.

    Returns
    -------
    A row a contestant: `calls`, `calls_per_second` of all callers together, `cpu_ms` a call, percentiles of what one call
    waits, and `ratio`, the median over the slices of the first contestant's rate by this one's: below 1 it is faster.
    """
    for calls in contestants.values():
        for call in calls:
            for _ in range(warmup):
                call()
    length = seconds / (SLICES * len(contestants))
    slices = [[_run(calls, length) for calls in contestants.values()] for _ in range(SLICES)]
    rates = np.array([[len(times) / wall for times, wall, _ in one] for one in slices])  # (slices, contestants)
    return [_row(name, [one[at] for one in slices], rates[:, at], rates[:, 0]) for at, name in enumerate(contestants)]


def _run(calls: Sequence[Call], seconds: float) -> tuple[list[float], float, float]:
    """(milliseconds of every call, seconds it took, seconds of the processor)."""
    times: list[list[float]] = [[] for _ in calls]
    faults: list[BaseException] = []
    start_line = threading.Barrier(len(calls) + 1)

    def caller(call: Call, mine: list[float]) -> None:
        start_line.wait()
        stop = time.perf_counter() + seconds
        try:
            while not mine or time.perf_counter() < stop:
                begun = time.perf_counter_ns()
                call()
                mine.append((time.perf_counter_ns() - begun) / 1e6)
        except BaseException as error:  # raised below, where somebody sees it
            faults.append(error)

    threads = [threading.Thread(target=caller, args=pair, daemon=True) for pair in zip(calls, times, strict=True)]
    for thread in threads:
        thread.start()
    start_line.wait()
    begun, spent = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return [each for mine in times for each in mine], time.perf_counter() - begun, time.process_time() - spent


def _row(
    name: str, slices: Sequence[tuple[list[float], float, float]], rates: np.ndarray, first: np.ndarray
) -> dict[str, Any]:
    waits = np.array([each for times, _, _ in slices for each in times])
    wall, cpu = sum(one[1] for one in slices), sum(one[2] for one in slices)
    p50, p90, p99, p999 = np.percentile(waits, (50, 90, 99, 99.9))
    figures = {
        "cpu_ms": cpu / len(waits) * 1e3,
        "mean_ms": waits.mean(),
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "p999_ms": p999,
        "max_ms": waits.max(),
        "ratio": np.median(first / rates),
        "calls_per_second": len(waits) / wall,
    }
    rounded = {key: round(float(value), 4) for key, value in figures.items()}
    return {"name": name, "calls": len(waits), **rounded, "times_ms": thinned(waits, KEPT)}
