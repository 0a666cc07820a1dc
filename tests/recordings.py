"""Small recordings for tests, and readers of the real ones that share no code with edgebind."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Chunk, Floats, Times, Window
from edgebind.window import Windower

CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
UNITS = ("m/s²",) * 3 + ("rad/s",) * 3
TITLES = "time_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"


def spec(rate_hz: float = 100.0, seconds: float = 3.0, hop: float = 0.5) -> WindowSpec:
    return WindowSpec(rate_hz, seconds, hop, CHANNELS, UNITS)


def still(count: int, seed: int = 0) -> NDArray[np.float64]:
    """(count, 6) of a sensor that lies on a table: gravity and a little noise."""
    noise = np.random.default_rng(seed).normal(0, 0.02, (count, 6))
    values: NDArray[np.float64] = noise + np.array([0, 0, 9.81, 0, 0, 0])
    return values


def stamps(count: int, rate_hz: float = 100.0, start_ns: int = 0) -> Times:
    return start_ns + np.round(np.arange(count) * NANOSECONDS / rate_hz).astype(np.int64)


def csv(
    count: int = 400,
    rate_hz: float = 100.0,
    *,
    titles: str | None = TITLES,
    samples: NDArray[np.float64] | None = None,
    times: Sequence[object] | None = None,
) -> str:
    """Text of a table; `times` None numbers them in seconds, an empty sequence leaves the column out."""
    values = still(count) if samples is None else samples
    if times is None:
        times = [f"{index / rate_hz:.6f}" for index in range(count)]
    rows = [",".join(f"{value:.6f}" for value in row) for row in values]
    if times:
        rows = [f"{time},{row}" for time, row in zip(times, rows, strict=True)]
    return "\n".join(([] if titles is None else [titles]) + rows) + "\n"


def windows(spec: WindowSpec, times: Times, samples: Floats, cuts: Sequence[int] = ()) -> tuple[list[Window], Windower]:
    """What a windower makes of a signal that comes in chunks cut at `cuts`."""
    windower = Windower(spec)
    found: list[Window] = []
    edges = [0, *sorted(cuts), len(times)]
    for begin, end in itertools.pairwise(edges):
        found += windower.push(Chunk(times[begin:end], samples[begin:end]))
    return found + windower.finish(), windower


def read_spsw(path: Path) -> tuple[Times, Floats]:
    with gzip.open(path, "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", skiprows=1, usecols=range(7))
    return table[:, 6].astype(np.int64) * 1_000_000, table[:, :6].astype(np.float32)


def read_borealtc(path: Path) -> tuple[Times, Floats]:
    with gzip.open(path, "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", skiprows=1)
    return np.round(table[:, 0] * 1e9).astype(np.int64), table[:, [4, 5, 6, 1, 2, 3]].astype(np.float32)
