"""How long one call takes: warm-up, then calls of all contestants in turn, so that a drifting clock hits them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of one contestant, milliseconds."""

    name: str
    calls: int
    first_ms: float
    """The very first call, which pays for what later calls find ready."""
    cpu_ms: float
    """Median of the processor's time in a call, all threads of this process together: other work on the machine, which
    interrupts a long call and spares a short one, does not count."""
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    ratio: float
    """Median over the rounds of this contestant's time by the first contestant's in the same round."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def race(contestants: Mapping[str, Call], *, seconds: float, warmup: int = 10, least: int = 20) -> list[Latency]:
    """Call each contestant in turn, A B C A B C ..., for `seconds` in all and at least `least` rounds.

    The ratio is taken round by round, so it holds when the machine's speed drifts between rounds.
    """
    first = {name: _milliseconds(call)[0] for name, call in contestants.items()}
    for _ in range(warmup):
        for call in contestants.values():
            call()
    rounds: list[list[tuple[float, float]]] = []
    stop = time.perf_counter() + seconds
    while len(rounds) < least or time.perf_counter() < stop:
        rounds.append([_milliseconds(call) for call in contestants.values()])
    table, spent = np.moveaxis(np.array(rounds), 2, 0)  # (rounds, contestants) each
    return [
        _summary(name, first[name], column, np.median(mine), np.median(column / table[:, 0]))
        for name, column, mine in zip(contestants, table.T, spent.T, strict=True)
    ]


def _milliseconds(call: Call) -> tuple[float, float]:
    """On the wall's clock and on the processor's."""
    spent, start = time.process_time_ns(), time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6, (time.process_time_ns() - spent) / 1e6


def _summary(name: str, first: float, times: np.ndarray, spent: np.floating[Any], ratio: np.floating[Any]) -> Latency:
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    figures = [
        first,
        float(spent),
        float(times.mean()),
        float(p50),
        float(p90),
        float(p99),
        float(times.max()),
        float(ratio),
    ]
    return Latency(name, len(times), *(round(figure, 4) for figure in figures))
