"""What a window is like, in one or two numbers for each kind of sensor: quiet or busy, cold or hot, near or far.

Calibration sets are drawn evenly over these, so that a rare busy minute counts beside hours of rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Edges = tuple[tuple[float, ...], ...]
"""For each aspect the values between its parts, rising."""


@dataclass(frozen=True, slots=True)
class Aspect:
    """One number of a window."""

    name: str
    unit: str
    words: tuple[str, ...]
    """What people call its parts, from the least to the greatest."""
    of: Callable[[Array], float]
    """The samples of a window, in physical units -> the number."""


def _shaking(samples: Array) -> float:
    """Root mean square of the acceleration about its mean: what is left without gravity."""
    acc = samples[:3].astype(np.float64)
    return float(np.sqrt(np.square(acc - acc.mean(axis=1, keepdims=True)).sum(axis=0).mean()))


def _rotation(samples: Array) -> float:
    """Root mean square of the length of the rotation vector."""
    return float(np.sqrt(np.square(samples[3:6].astype(np.float64)).sum(axis=0).mean()))


def _measured(frame: Array) -> Array:
    """The pixels that were measured: depth cameras write 0 or NaN for the others."""
    values = frame[np.isfinite(frame) & (frame != 0)]
    return values if values.size else np.zeros(1)


def _mean(frame: Array) -> float:
    return float(np.nanmean(frame, dtype=np.float64))


def _deviation(frame: Array) -> float:
    return float(np.nanstd(frame, dtype=np.float64))


def _loudness(samples: Array) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))


def _crossings(samples: Array) -> float:
    return float((np.signbit(samples[..., 1:]) != np.signbit(samples[..., :-1])).mean())


ASPECTS: dict[str, tuple[Aspect, ...]] = {
    "imu": (
        Aspect("shaking", "m/s²", ("quiet", "lively", "busy"), _shaking),
        Aspect("rotation", "rad/s", ("steady", "turning"), _rotation),
    ),
    "thermal": (
        Aspect("level", "°C or grey level", ("cold", "middling", "hot"), _mean),
        Aspect("contrast", "°C or grey level", ("flat", "varied"), _deviation),
    ),
    "depth": (
        Aspect("distance", "m", ("near", "middling", "far"), lambda frame: float(np.median(_measured(frame)))),
        Aspect("relief", "m", ("flat", "varied"), lambda frame: _deviation(_measured(frame))),
    ),
    "vision": (
        Aspect("brightness", "grey level", ("dark", "dim", "bright"), _mean),
        Aspect("contrast", "grey level", ("flat", "varied"), _deviation),
    ),
    "audio": (
        Aspect("loudness", "full scale", ("quiet", "middling", "loud"), _loudness),
        Aspect("crossings", "of zero a sample", ("low", "high"), _crossings),
    ),
    "text": (Aspect("length", "characters", ("short", "middling", "long"), lambda prompt: float(len(str(prompt)))),),
}
"""Modality -> its aspects."""


def edges(modality: str, values: NDArray[np.float64]) -> Edges:
    """Where the parts of each aspect meet: equal steps between the 1st and the 99th percentile.

    Not equal counts: parts of one size each would draw what an even selection draws.

    Parameters
    ----------
    values: (windows, aspects).
    """
    return tuple(_steps(column, len(aspect.words)) for aspect, column in zip(ASPECTS[modality], values.T, strict=True))


def _steps(values: NDArray[np.float64], parts: int) -> tuple[float, ...]:
    low, high = np.percentile(values, [1, 99]).tolist() if len(values) else (0.0, 0.0)
    if high <= low:
        return ()  # nothing to tell apart
    return tuple(float(f"{edge:.6g}") for edge in np.linspace(low, high, parts + 1)[1:-1])


def place(values: NDArray[np.float64], between: Edges) -> NDArray[np.int64]:
    """The stratum of each window: its part of every aspect, as one number. (windows, aspects) -> (windows,)."""
    found = np.zeros(len(values), np.int64)
    for column, ends in zip(values.T, between, strict=True):
        found = found * (len(ends) + 1) + np.searchsorted(ends, column, side="right")
    return found


def count(between: Edges) -> int:
    """How many strata there are."""
    return int(np.prod([len(ends) + 1 for ends in between]))


def title(modality: str, stratum: int, between: Edges) -> str:
    """How people call a stratum: `busy, turning`."""
    words: list[str] = []
    for aspect, ends in zip(reversed(ASPECTS[modality]), reversed(between), strict=True):
        stratum, part = divmod(stratum, len(ends) + 1)
        if ends:
            words.insert(0, aspect.words[part])
    return ", ".join(words) or "all alike"


def draw(found: NDArray[np.int64], windows: int, seed: int) -> NDArray[np.int64]:
    """Which windows to take: as many of each stratum as can be, drawn by chance without repeating; rising numbers.

    Parameters
    ----------
    found: the stratum of each window.
    windows: how many to take in all, if there are as many.
    seed: the same seed and the same windows give the same drawing; each stratum has dice of its own.
    """
    kinds, sizes = np.unique(found, return_counts=True)
    shares = allot(sizes.tolist(), windows)
    drawn = [
        np.random.default_rng([seed, int(kind)]).choice(np.flatnonzero(found == kind), share, replace=False)
        for kind, share in zip(kinds, shares, strict=True)
    ]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)


def allot(sizes: Sequence[int], total: int) -> list[int]:
    """`total` places shared out as evenly as the sizes allow; what a small one cannot fill goes to the others.

    [100, 100, 3] and 63 give [30, 30, 3].
    """
    shares = [0] * len(sizes)
    left = min(total, sum(sizes))
    waiting = sorted(range(len(sizes)), key=lambda place: sizes[place])
    for rank, place in enumerate(waiting):
        shares[place] = min(sizes[place], left // (len(waiting) - rank))
        left -= shares[place]
    return shares
