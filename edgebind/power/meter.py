"""What a meter promises, and which rails of a Jetson add up to what the whole of it draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a meter."""

    watts: Mapping[str, float] = field(default_factory=dict)
    """Rail -> power at this moment. Slightly negative values come from offsets of the sensor and are kept."""
    joules: Mapping[str, float] = field(default_factory=dict)
    """Counter -> energy since some moment that never changes while the meter is open."""
    clocks_mhz: Mapping[str, float] = field(default_factory=dict)
    temperatures_c: Mapping[str, float] = field(default_factory=dict)


class Meter(Protocol):
    """Something that tells power or energy."""

    name: str
    """How people call it: `ina3221`, `tegrastats`, `nvml`, `rapl`."""
    covers: str
    """What its total is of: `whole module`, `GPU board`, `processor package`."""

    def read(self) -> Reading:
        """The newest values; as cheap as the meter allows."""
        ...

    def close(self) -> None: ...


TOTALS: tuple[tuple[str, ...], ...] = (
    ("VIN",),  # AGX Thor
    ("VDD_IN",),  # Orin Nano, Orin NX, Xavier NX
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin; VDDQ_VDD2_1V8AO is a part of VIN_SYS_5V0
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
    ("POM_5V_IN",),  # Nano
)
"""Sets of rails of which each adds up to a whole module, the most telling first (NVIDIA's Jetson Linux Developer Guide)."""


def total_watts(watts: Mapping[str, float]) -> float | None:
    """What the whole module draws; None where the rails at hand are not known to add up to it."""
    for rails in TOTALS:
        if all(rail in watts for rail in rails):
            return sum(watts[rail] for rail in rails)
    return None
