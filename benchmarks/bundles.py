"""Bundles side by side: latency and throughput against batch size, memory, energy, and how near the machine's limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import __version__, power
from edgebind.benchmarks import cold, contestants, device_time, energy, latency, machine, streams
from edgebind.benchmarks.contestants import Contestant
from edgebind.errors import OptionError
from edgebind.power import state
from edgebind.power.recorder import Recorder

FORMAT = "edgebind-bench/1"
Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure."""

    seconds: float = 5.0
    """How long the race lasts in all, batch sizes together."""
    batches: tuple[int, ...] = (1,)
    """Windows in a call, one race for each."""
    threads: int | None = None
    backends: tuple[str, ...] = ("auto",)
    streams: int = 1
    """Callers at once, each with an encoder of its own."""
    warmup_s: float = 0.0
    """Beside ten calls of each contestant: clocks that rise with the load need longer."""
    cold: bool = True
    """Also start a fresh process for each contestant, for memory and the first embedding."""
    meter: str = "auto"
    """Power meter, or `none`."""
    roofline: bool = False

    def check(self) -> None:
        """
        Raises
        ------
        OptionError: a batch or a number of streams below 1.
        """
        for what, least in (("batch", min(self.batches, default=0)), ("streams", self.streams)):
            if least < 1:
                raise OptionError(f"{what} out of range", wanted="at least 1", got=least)


def measure(folders: Sequence[Path], options: Options) -> dict[str, Any]:
    """Race the encoders of some bundles on the same machine in one run.

    Parameters
    ----------
    folders: bundles; the first one, on the first backend, is what ratios refer to. Bundles of different modalities may
        race, each on its own input.

    Returns
    -------
    `machine`, `options`, and `results`: one entry for each contestant and batch size, batch sizes in order; `not_measured`:
    what is missing from them and why.

    Raises
    ------
    OptionError: a batch below 1, or an unknown backend or meter.
    BundleError, BackendError, MissingDependencyError: a bundle that cannot be run here.
    """
    options.check()
    not_measured: dict[str, str] = {}
    before = state.describe()
    with ExitStack() as stack:
        teams = [
            stack.enter_context(contestants.opened(folders, options.backends, options.threads))
            for _ in range(options.streams)
        ]
        recorder = _recorder(stack, options.meter, not_measured)
        results = [row for batch in options.batches for row in _race(teams, batch, options, recorder)]
        _add_cold(results, options, not_measured)
        if options.roofline:
            from edgebind.benchmarks import roofline

            missing = roofline.add(results, teams[0])
            not_measured |= {f"roofline of {name}": reason for name, reason in missing.items()}
    after = state.describe()
    around = {"before": before, "after": after, "held_back": state.held_back(before, after)}
    return {
        "format": FORMAT,
        "edgebind": __version__,
        "machine": {**machine.describe(), **around},
        "options": asdict(options),
        "results": results,
        "not_measured": not_measured,
    }


def _race(
    teams: Sequence[Sequence[Contestant]], batch: int, options: Options, recorder: Recorder | None
) -> list[dict[str, Any]]:
    calls = {one.name: [_call(team[at], batch) for team in teams] for at, one in enumerate(teams[0])}
    seconds = options.seconds / len(options.batches)
    rows = _alone(calls, seconds, options) if options.streams == 1 else streams.race(calls, seconds=seconds)
    spent = _energy(recorder, calls, batch, seconds / len(calls))
    return [
        _result(one, row, batch, spent.get(one.name)) | _on_the_gpu(one, batch)
        for one, row in zip(teams[0], rows, strict=True)
    ]


def _on_the_gpu(one: Contestant, batch: int) -> dict[str, Any]:
    """How long the GPU itself is busy with a batch, where the backend can tell: the rest of a call is the way there and back."""
    backend = one.opened.backend
    found = [device_time.engine_ms(backend, batch) for _ in range(50)]
    known = [each for each in found if each is not None]
    return {"device_ms": round(float(np.median(known)), 4)} if known else {}


def _call(one: Contestant, batch: int) -> Call:
    feed = one.feed(batch)
    return lambda: one.opened.backend.infer(feed)


def _alone(calls: Mapping[str, Sequence[Call]], seconds: float, options: Options) -> list[dict[str, Any]]:
    only = {name: mine[0] for name, mine in calls.items()}
    raced = latency.rounds(only, seconds=seconds, warmup_s=options.warmup_s)
    kept = [
        {"times_ms": latency.thinned(wall), "cpu_times_ms": latency.thinned(cpu)}
        for wall, cpu in zip(raced.wall_ms.T, raced.cpu_ms.T, strict=True)
    ]
    return [
        {**row.to_dict(), "calls_per_second": 1e3 / row.mean_ms, **times}
        for row, times in zip(raced.latencies(), kept, strict=True)
    ]


def _energy(
    recorder: Recorder | None, calls: Mapping[str, Sequence[Call]], batch: int, seconds: float
) -> dict[str, dict[str, Any]]:
    if recorder is None:
        return {}
    return energy.measure(recorder, {name: mine[0] for name, mine in calls.items()}, batch, seconds=seconds)


def _result(one: Contestant, row: Mapping[str, Any], batch: int, spent: dict[str, Any] | None) -> dict[str, Any]:
    figures = {key: value for key, value in row.items() if key not in ("name", "calls_per_second")}
    rate = {"batch": batch, "windows_per_second": round(batch * row["calls_per_second"], 1)}
    return {**one.describe(), **rate, **figures, **({} if spent is None else {"energy": spent})}


def _recorder(stack: ExitStack, meter: str, not_measured: dict[str, str]) -> Recorder | None:
    """A meter at work, or None and a note of why."""
    if meter == "none":
        return None
    found, reasons = power.find(meter)
    if found is None:
        not_measured["energy"] = "; ".join(reasons.values())
        return None
    stack.callback(found.close)
    return stack.enter_context(Recorder(found))


def _add_cold(results: list[dict[str, Any]], options: Options, not_measured: dict[str, str]) -> None:
    """To the results of the first batch size, one fresh process each."""
    if not options.cold:
        not_measured["memory"] = "left out on request"
        return
    for row in results:
        if row["batch"] == options.batches[0]:
            row["cold"] = cold.measure(
                Path(row["bundle"]), backend=row["backend"], batch=row["batch"], threads=options.threads
            )
