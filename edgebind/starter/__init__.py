"""The starter space: small IMU and thermal towers that ship in the package, so that the first minute needs no download.

imu-fp32/ imu-int8/ thermal-fp32/ thermal-int8/    bundles
recordings/                                        short real excerpts: demo, calibration, gate
recipes/                                           what `edgebind bind` made the towers from
MODEL_CARD.md                                      data, seeds, held-out numbers
"""

from __future__ import annotations

from pathlib import Path

SPACE = "starter"
MODALITIES = ("imu", "thermal")
PRECISIONS = ("fp32", "int8")

DEMO_RATE_HZ = {"thermal": 2.0}
"""Frames a second of demos that are pictures without times: slow enough to look at each."""

HERE = Path(__file__).resolve().parent
RECORDINGS = HERE / "recordings"


def folder(modality: str, precision: str) -> Path:
    """Where the starter's bundle of that modality and precision lies."""
    return HERE / f"{modality}-{precision}"


def recordings(part: str, modality: str) -> list[Path]:
    """The shipped recordings of a modality for `demo`, `calibration` or `gate`, sorted by name."""
    return sorted((RECORDINGS / part / modality).iterdir())
