"""How much memory calibration takes, however many windows it sees: real motion, drawn again and again from the start.

    observers   windows straight into one histogram, which serves every method
    road        recordings -> windows -> the starter's IMU encoder -> a histogram for each tensor

python -m edgebind.benchmarks.observers --windows 10000000 --out benchmarks/results/observers-cpu.json
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgebind import bundle as bundles
from edgebind import cli, manifest, starter
from edgebind.benchmarks import machine
from edgebind.calibration import ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.histogram import Histogram
from edgebind.calibration.observers import METHODS
from edgebind.calibration.windows import finding
from edgebind.calibration.windows.streaming import Part, Streamed
from edgebind.cli.options import Output
from edgebind.manifest import Manifest
from edgebind.window import make_windower

TOGETHER = 1000
"""Windows that go into the histogram at a time."""
LONGEST = 200
"""Samples in a window of the first part."""
MODALITY = "imu"


class Resident:
    """The most memory of this process that was resident at any look, from when it was made."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE")
        self.before = self._now()
        self.most = self.before

    def look(self) -> None:
        self.most = max(self.most, self._now())

    @property
    def growth_mb(self) -> float:
        return round((self.most - self.before) / 1e6, 1)

    def _now(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * self._page


def measure(*, windows: int, road_windows: int, seed: int = 0) -> dict[str, Any]:
    """Stream windows through the observers, and others through a whole encoder.

    Parameters
    ----------
    windows: straight into the observers.
    road_windows: from the recordings through the encoder; the recordings begin again when they end.

    Returns
    -------
    `machine`, and for `observers` and `road`: windows, values, megabytes by which the process grew above what it held
    before the first window, and seconds of the processor.
    """
    description = manifest.read(starter.folder(MODALITY, "fp32") / manifest.FILE)
    return {
        "machine": machine.describe(),
        "methods": list(METHODS),
        "observers": _observers(windows, description, seed),
        "road": _road(road_windows, description),
    }


def _observers(windows: int, description: Manifest, seed: int) -> dict[str, Any]:
    signals = _signals(description)
    histogram = Histogram()
    histogram.update(next(_resampled(signals, TOGETHER, seed)))  # what NumPy allocates once is not growth
    memory, began = Resident(), time.process_time()
    values = 0
    for drawn in _resampled(signals, windows, seed):
        histogram.update(drawn)
        values += drawn.size
        memory.look()
    found = {name: factory(histogram).range() for name, factory in METHODS.items()}
    memory.look()
    return {
        "windows": windows,
        "values": values,
        "growth_mb": memory.growth_mb,
        "cpu_seconds": round(time.process_time() - began, 1),
        "ranges": {name: [round(end, 4) for end in ends] for name, ends in found.items()},
    }


def _signals(description: Manifest) -> list[NDArray[np.float32]]:
    """(channels, samples) of each shipped recording, on the encoder's grid."""
    from edgebind.sources.file import open_recording

    signals = []
    for path in starter.recordings("calibration", MODALITY):
        windower = make_windower(description.window, MODALITY)
        cut = [
            window
            for chunk in open_recording(path, MODALITY, description.window, chunk_seconds=1.0)
            for window in windower.push(chunk)
        ]
        signals.append(np.concatenate([window.samples for window in cut], axis=1))
    return signals


def _resampled(signals: list[NDArray[np.float32]], windows: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """(some, channels, samples): windows that begin anywhere in any of the signals."""
    random = np.random.default_rng(seed)
    views = [sliding_window_view(signal, LONGEST, axis=1) for signal in signals]  # (channels, starts, samples)
    for done in range(0, windows, TOGETHER):
        view = views[random.integers(len(views))]
        starts = random.integers(view.shape[1], size=min(TOGETHER, windows - done))
        yield view[:, starts].swapaxes(0, 1)


def _road(windows: int, description: Manifest) -> dict[str, Any]:
    graph = starter.folder(MODALITY, "fp32") / bundles.ENCODER
    folder = starter.RECORDINGS / "calibration" / MODALITY
    streamed = Streamed(tuple(Part(*found) for found in finding.named([folder], MODALITY)), description)
    ranges.collect(graph, itertools.islice(streamed, 100))  # what ONNX Runtime allocates once is the model's
    memory, began = Resident(), time.process_time()
    again = itertools.islice(itertools.chain.from_iterable(itertools.repeat(streamed)), windows)
    found = ranges.collect(graph, _watched(again, memory))
    return {
        "windows": windows,
        "tensors": len(found["minmax"].tensors),
        "growth_mb": memory.growth_mb,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def _watched(batches: Iterator[Batch], memory: Resident) -> Iterator[Batch]:
    for batch in batches:
        memory.look()
        yield batch


@click.command()
@click.option("--windows", type=click.IntRange(1), default=10_000_000, show_default=True, help="Into the observers.")
@click.option("--road-windows", type=click.IntRange(1), default=50_000, show_default=True, help="Through the encoder.")
@click.option("--out", type=Output(dir_okay=False), help="Also write the numbers here, as JSON.")
def command(windows: int, road_windows: int, out: Path | None) -> None:
    """Measure by how much calibration grows with the windows it sees."""
    report = measure(windows=windows, road_windows=road_windows)
    for name in ("observers", "road"):
        part = report[name]
        click.echo(
            f"{name:10} {part['windows']} windows, {part['growth_mb']} MB, {part['cpu_seconds']} s of the processor"
        )
    if out is not None:
        from edgebind import atomic

        atomic.write_json(out, report)


if __name__ == "__main__":
    sys.exit(cli.main(command=command, name="python -m edgebind.benchmarks.observers"))
