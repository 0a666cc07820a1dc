"""How long one call takes: warm-up, then calls of all contestants in turn, so that a drifting clock hits them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]
RESTS = 25
"""Most pauses before a call."""
AT_REST = 0.05
"""Below this share of a pause, the processor's time is that of the sleeping itself."""
KEPT = 1000
"""Most times of a contestant that a report keeps, taken at even distances over the whole run."""


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
    p999_ms: float
    """Of fewer than a thousand calls it is hardly below the longest."""
    max_ms: float
    ratio: float
    """Median over the rounds of this contestant's time by the first contestant's in the same round."""
    drift: float
    """Median of the last third of the calls by that of the first: far from 1, the run was not steady."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Every time that was taken; a round is one call of each contestant."""

    names: tuple[str, ...]
    first_ms: tuple[float, ...]
    wall_ms: NDArray[np.float64]
    """(rounds, contestants)"""
    cpu_ms: NDArray[np.float64]
    """(rounds, contestants), the processor's time of all threads of this process."""

    def latencies(self) -> list[Latency]:
        ratios = np.median(self.wall_ms / self.wall_ms[:, :1], axis=0)
        return [
            _summary(name, first, wall, cpu, float(ratio))
            for name, first, wall, cpu, ratio in zip(
                self.names, self.first_ms, self.wall_ms.T, self.cpu_ms.T, ratios, strict=True
            )
        ]


def race(contestants: Mapping[str, Call], *, seconds: float, warmup: int = 10, least: int = 20) -> list[Latency]:
    """Call each contestant in turn, A B C A B C ..., for `seconds` in all and at least `least` rounds.

    The ratio is taken round by round, so it holds when the machine's speed drifts between rounds.
    """
    return rounds(contestants, seconds=seconds, warmup=warmup, least=least).latencies()


def rounds(
    contestants: Mapping[str, Call],
    *,
    seconds: float,
    warmup: int = 10,
    warmup_s: float = 0.0,
    least: int = 20,
    pause_s: float = 0.0,
    shuffle: bool = False,
) -> Rounds:
    """The race with every single time.

    Parameters
    ----------
    warmup, warmup_s: rounds before the first that counts, and as many more as fill `warmup_s` seconds.
    pause_s: rest before each call, again and again until the threads of the one before are at rest too, see `settle`.
    shuffle: draw the order of each round anew (from a seed), so that nobody always follows the same one.
    """
    first = tuple(_milliseconds(call)[0] for call in contestants.values())
    warm, done = time.perf_counter() + warmup_s, 0
    while done < warmup or time.perf_counter() < warm:
        for call in contestants.values():
            call()
        done += 1
    calls, rng = list(contestants.values()), np.random.default_rng(0)
    taken: list[list[tuple[float, float]]] = []
    stop = time.perf_counter() + seconds
    while len(taken) < least or time.perf_counter() < stop:
        order = rng.permutation(len(calls)) if shuffle else range(len(calls))
        taken.append(_round(calls, order, pause_s))
    wall, cpu = np.moveaxis(np.array(taken), 2, 0)
    return Rounds(tuple(contestants), first, wall, cpu)


def _round(calls: Sequence[Call], order: Iterable[int], pause_s: float) -> list[tuple[float, float]]:
    """Times of one call of each, in the contestants' own order whatever order they were made in."""
    times = [(0.0, 0.0)] * len(calls)
    for at in order:
        if pause_s:
            settle(pause_s)
        times[at] = _milliseconds(calls[at])
    return times


def settle(
    pause_s: float,
    *,
    sleep: Callable[[float], object] = time.sleep,
    spent_ns: Callable[[], int] = time.process_time_ns,
) -> None:
    """Sleep until no thread of this process is awake: one that waits by spinning takes a processor from whoever comes next.

    ONNX Runtime's own spin for about 35 ms of the processor's time after a call, unless they are told otherwise.
    Some work never rests (a thread that reads a sensor, say), so after `RESTS` pauses the next call comes all the same.
    """
    for _ in range(RESTS):
        before = spent_ns()
        sleep(pause_s)
        if spent_ns() - before < AT_REST * pause_s * 1e9:
            return


def _milliseconds(call: Call) -> tuple[float, float]:
    """On the wall's clock and on the processor's."""
    spent, start = time.process_time_ns(), time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6, (time.process_time_ns() - spent) / 1e6


def _summary(name: str, first: float, wall: NDArray[np.float64], cpu: NDArray[np.float64], ratio: float) -> Latency:
    third = max(1, len(wall) // 3)
    figures = [first, np.median(cpu), wall.mean(), *np.percentile(wall, (50, 90, 99, 99.9)), wall.max(), ratio]
    figures.append(np.median(wall[-third:]) / np.median(wall[:third]))
    return Latency(name, len(wall), *(round(float(figure), 4) for figure in figures))


def thinned(times_ms: NDArray[np.float64], most: int = KEPT) -> list[float]:
    """At most `most` of the times, in order and at even distances, so that a report can be compared later."""
    at = np.unique(np.linspace(0, len(times_ms) - 1, min(most, len(times_ms))).round().astype(int))
    return [round(float(each), 4) for each in times_ms[at]]
