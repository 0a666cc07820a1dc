"""`ranges.json`: the range of each activation, tied to the FP32 graph it was measured on.

The same file yields the TensorRT graph and both CPU graphs, so a calibration is done once for a set of recordings.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import onnx_external
from edgebind.calibration import engine
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.histogram import Histogram, Range
from edgebind.calibration.observers import METHODS, Factory
from edgebind.calibration.transforms import rewrites as rewrites_
from edgebind.calibration.transforms.rewrites import Rewrites
from edgebind.calibration.weights import LARGEST, SCALINGS
from edgebind.errors import CalibrationError

FORMAT = "edgebind-ranges/1"
FILE = "ranges.json"
FLOAT32 = float(np.finfo(np.float32).max)
"""No tensor reaches farther."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Tensor name -> (low, high), from real recordings."""

    graph: str
    """`fingerprint` of the FP32 graph."""
    method: str
    """Name of the observer, a key of `edgebind.calibration.observers.METHODS`."""
    windows: int
    """How many windows were seen."""
    tensors: dict[str, Range]
    weights: str = LARGEST
    """How weights get their scales, a key of `edgebind.calibration.weights.SCALINGS`."""
    format: str = FORMAT
    attention: bool = False
    """Whether attention's own two products are quantised as well."""
    rewrites: Rewrites = field(default_factory=Rewrites)
    """What is done to the graph's constants first: the ranges are those of the graph so changed."""

    def to_json(self) -> str:
        names = [name for name in self.__dataclass_fields__ if name != "rewrites"]
        text = json.dumps({name: getattr(self, name) for name in names}, indent=1)
        if self.rewrites:  # on one line: there may be a million numbers
            text = f'{text[:-2]},\n "rewrites": {json.dumps(self.rewrites.to_dict())}\n}}'
        return text + "\n"

    def require_graph(self, graph: Path) -> None:
        """Refuse ranges of another graph.

        Raises
        ------
        CalibrationError: `graph` is not the one these ranges were measured on.
        """
        found = fingerprint(graph)
        if found != self.graph:
            raise CalibrationError(
                "ranges of another graph", where=graph, wanted=self.graph[:12], got=found[:12], remedy="calibrate again"
            )


def from_json(text: str, where: str | Path = FILE) -> Ranges:
    """Read what `Ranges.to_json` wrote.

    Raises
    ------
    CalibrationError: not such a file, or a range that is no range.
    """
    try:
        data = json.loads(text)
        if data.get("format") != FORMAT:
            raise ValueError(f"format {data.get('format')!r}")
        tensors = {str(name): _checked(pair) for name, pair in data["tensors"].items()}
        weights = data.get("weights", LARGEST)  # files of the first days do not say
        if weights not in SCALINGS:
            raise ValueError(f"weights {weights!r}")
        rewrites = rewrites_.from_dict(data["rewrites"]) if "rewrites" in data else Rewrites()
        attention = data.get("attention", False) is True
        graph, method, windows = str(data["graph"]), str(data["method"]), int(data["windows"])
        return Ranges(graph, method, windows, tensors, weights, attention=attention, rewrites=rewrites)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CalibrationError(
            f"not a ranges file: {error}", where=where, wanted=FORMAT, remedy="calibrate again"
        ) from error


def read(path: Path) -> Ranges:
    """Read a file that `Ranges.to_json` wrote, or the one in a bundle's folder.

    Raises
    ------
    CalibrationError: no such file, not such a file, or a range that is no range.
    """
    file = path / FILE if path.is_dir() else path
    try:
        return from_json(file.read_text(encoding="utf-8"), file)
    except FileNotFoundError as error:
        raise CalibrationError("no ranges here", where=file, wanted=f"an INT8 bundle, or its {FILE}") from error
    except OSError as error:
        raise CalibrationError(f"cannot be read: {error.strerror or error}", where=file) from error
    except UnicodeDecodeError as error:
        raise CalibrationError("not a ranges file: no text", where=file, wanted=FORMAT) from error


def _checked(pair: Any) -> Range:
    low, high = float(pair[0]), float(pair[1])
    if not -FLOAT32 <= low <= high <= FLOAT32:
        raise ValueError(f"range {pair}")
    return low, high


def fingerprint(graph: Path) -> str:
    """sha256 of a graph file and of every file its weights lie in."""
    files = (graph, *(graph.parent / name for name in _outside(graph, _state(graph))))
    return _digest(files, tuple(map(_state, files)))


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file does. A calibration asks for one graph's hash dozens of times, and that may be gigabytes."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@functools.lru_cache(maxsize=8)
def _outside(graph: Path, state: tuple[int, ...]) -> list[str]:
    return sorted(onnx_external.locations(graph))


@functools.lru_cache(maxsize=8)
def _digest(files: tuple[Path, ...], states: tuple[tuple[int, ...], ...]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def collect(
    graph: Path,
    batches: Iterable[Batch],
    methods: Mapping[str, Factory] | None = None,
    seen: Callable[[int], None] = lambda windows: None,
    *,
    attention: bool = False,
) -> dict[str, Ranges]:
    """Run the FP32 graph over real windows and note the range of every tensor that may be quantised.

    One pass serves all methods; memory holds one window's activations and one histogram a tensor.

    Parameters
    ----------
    seen: called with the number of windows that are done, after each.
    attention: also of what attention's own products read.

    Raises
    ------
    CalibrationError: no batches, or a batch with NaN or of the wrong shape, named by its recording.
    """
    methods = METHODS if methods is None else methods
    structure = Graph.read(graph)
    histograms = {name: Histogram() for name in structure.observed(attention)}
    windows = 0
    with engine.Tap(graph, list(histograms)) as tap:
        for batch in batches:
            for row in batch.inputs:
                _observe(row[None], batch.recording, tap, histograms)
                windows += 1
                seen(windows)
    if not windows:
        raise CalibrationError("no windows to calibrate on", remedy="give recordings with --calibration PATH")
    digest = fingerprint(graph)
    observers = {method: {name: factory(h) for name, h in histograms.items()} for method, factory in methods.items()}
    return {
        method: Ranges(
            digest, method, windows, {name: observer.range() for name, observer in of.items()}, attention=attention
        )
        for method, of in observers.items()
    }


def _observe(window: NDArray[Any], recording: str, tap: engine.Tap, histograms: Mapping[str, Histogram]) -> None:
    values = tap.run(window, recording)
    for name, histogram in histograms.items():
        try:
            histogram.update(values[name])
        except CalibrationError as error:
            raise CalibrationError(
                f"activation {name!r} has {error.what}", where=recording, remedy="leave this recording out"
            ) from error
