"""The nouns of the stream: what flows from a sensor to a sink.

    Chunk  -> Window   -> Embedding
    source    windower    embedder

Times are int64 nanoseconds. A window's start is inclusive, its stop exclusive. Values are SI: m/s², rad/s, °C, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgebind.drift import Drift

Floats = NDArray[np.float32]
Times = NDArray[np.int64]
Samples = NDArray[Any]
"""What a sensor measured, in its own type: float32 of a signal, uint8, uint16 or float of a camera."""

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive samples of one sensor, as they arrived."""

    times: Times
    """(n,) nanoseconds, never falling; equal times are allowed, because phones deliver samples in batches."""
    samples: Samples
    """(n, channels) float32 of a signal, or (n, height, width[, 3]) of a camera in the camera's own dtype."""
    origin: str = ""
    """Where it came from, for messages: a file, a topic, a port."""

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Quality:
    """How far a window can be believed."""

    coverage: float = 1.0
    """Share of the window's span that real samples cover, 0 to 1."""
    gap_ms: float = 0.0
    """Longest hole in the window, milliseconds."""
    saturated: float = 0.0
    """Share of values that stand at the sensor's limit, 0 to 1."""

    def to_dict(self) -> dict[str, float]:
        return {
            "coverage": round(self.coverage, 4),
            "gap_ms": round(self.gap_ms, 3),
            "saturated": round(self.saturated, 4),
        }


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a signal on the bundle's own time grid, or one frame of a camera."""

    start_ns: int
    """Inclusive."""
    stop_ns: int
    """Exclusive."""
    samples: Samples
    """(channels, length) float32 of a signal in physical units, or (height, width[, 3]) of a camera in its own dtype."""
    quality: Quality = field(default_factory=Quality)
    origin: str = ""


Windows = Sequence[Window] | Sequence[Samples] | Samples
"""What a bundle embeds: windows, or nothing but their samples, as a list or with a batch axis in front."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A unit vector of the space, with the times of the window it stands for."""

    start_ns: int
    stop_ns: int
    vector: Floats
    """(dim,), Euclidean length 1."""
    quality: Quality = field(default_factory=Quality)
    labels: dict[str, float] = field(default_factory=dict)
    """Prompt -> probability; empty when the bundle has no label bank."""
    latency_ms: float = 0.0
    """From the arrival of the window's last sample to this vector."""
    sensor: str = ""
    origin: str = ""
    drift: Drift | None = None
    """How far the sensor's latest whole block of windows is from the calibration's; None where nobody looks."""
