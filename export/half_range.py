"""Where half would overflow or blur, found on real windows: which nodes have to stay in float32, and why.

    overflow    a value that some window takes comes within `HEADROOM` of 65504, the largest finite half
    loss        in some window half's rounding costs the tensor more than `MOST_ERROR` of its length (L2): its values are
                subnormal, below 6.1e-5, where half has fewer and fewer digits, or become zero

A node is kept where anything it reads or returns is in danger. What happens inside a node, no tap can see: the sums of a
LayerNormalization or a Softmax pass 65504 where neither end does. So those are in float32 whatever is found here
(`edgebind.export.precision.KEPT`), and single small values beside large ones do not count: they cost nothing of the length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine
from edgebind.calibration.batches import Batch, spread
from edgebind.calibration.graph import Graph
from edgebind.export import precision

HEADROOM = 4.0
"""How many times what was seen may still come."""
MOST_ERROR = 1e-3
"""Of a tensor's length. Rounding of normal halves costs at most 4.9e-4 (2**-11), so above that subnormal ones rule."""
SUBNORMAL = 2.0**-14
"""Smallest normal half."""

TINY = 2.0**-126
"""Smallest normal float32."""

WINDOWS, LEAST_WINDOWS = 64, 4
BUDGET = 1_000_000_000
"""Numbers that are looked at, over all windows and tensors; a large encoder's many allow for few windows."""


@dataclass(slots=True)
class Spread:
    """What half would make of one tensor."""

    largest: float = 0.0
    error: float = 0.0
    """Of its length, in the worst window."""
    subnormal: float = 0.0
    """Share of the values that are not zero, in that window or another: the largest seen."""
    zeroed: float = 0.0
    """Share of the values that are not zero and would become zero, likewise."""

    def update(self, values: NDArray[Any]) -> None:
        """Take in one window's values."""
        magnitudes = np.abs(values.ravel())
        largest = float(magnitudes.max(initial=0.0))
        if not np.isfinite(largest):  # a mask's infinities are the same in half
            magnitudes = magnitudes[np.isfinite(magnitudes)]
            largest = float(magnitudes.max(initial=0.0))
        if not largest:
            return
        with np.errstate(over="ignore"):
            halves = magnitudes.astype(np.float16).astype(np.float32)
        there = np.count_nonzero(magnitudes)
        absent = magnitudes.size - there
        self.largest = max(self.largest, largest)
        self.subnormal = max(self.subnormal, float((np.count_nonzero(magnitudes < SUBNORMAL) - absent) / there))
        self.zeroed = max(self.zeroed, float((np.count_nonzero(halves == 0) - absent) / there))
        self.error = max(self.error, _length(halves - magnitudes, largest) / _length(magnitudes, largest))

    @property
    def danger(self) -> str | None:
        """`overflow`, `loss` or nothing."""
        if self.largest * HEADROOM > precision.LARGEST:
            return "overflow"
        return "loss" if self.error > MOST_ERROR else None


def _length(values: NDArray[Any], largest: float) -> float:
    """L2, in units of `largest`, so that no square of a float32 overflows or is lost."""
    scaled = values * np.float32(1 / max(largest, TINY))
    return float(np.sqrt(np.dot(scaled, scaled)))


@dataclass(frozen=True, slots=True)
class Hazard:
    """One tensor that half cannot hold."""

    tensor: str
    node: str
    """What returns it, as people know it; the graph's input is its own."""
    op: str
    danger: str
    largest: float
    error: float
    subnormal: float
    zeroed: float
    nodes: tuple[str, ...] = field(default=())
    """Outputs of the nodes that stay in float32 because they read or return it."""

    def to_dict(self) -> dict[str, Any]:
        return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        if self.danger == "overflow":
            return f"{self.node} ({self.op}) because max {self.largest:.2g}"
        return f"{self.node} ({self.op}) because half loses {self.error:.1%}, {self.subnormal:.0%} subnormal"


KEY = "kept_in_float32"
"""In `report.json`."""


def nodes(hazards: Iterable[Hazard]) -> list[str]:
    """First outputs of all nodes that have to stay in float32, each once."""
    return list(dict.fromkeys(name for hazard in hazards for name in hazard.nodes))


def to_report(hazards: Iterable[Hazard]) -> list[dict[str, Any]]:
    """As `report.json` has it."""
    return [hazard.to_dict() for hazard in hazards]


def find(graph: Path, batches: Sequence[Batch]) -> list[Hazard]:
    """Tensors of an FP32 graph that half cannot hold, in the order of execution.

    Parameters
    ----------
    batches: windows to look at; about `BUDGET` numbers of them are.

    Raises
    ------
    CalibrationError: a batch of the wrong shape, named by its recording.
    """
    source = Graph.read(graph)
    touched = _touched(source)
    spreads = {name: Spread() for name in touched}
    for values in _windows(graph, list(spreads), batches):
        for name, spread_ in spreads.items():
            spread_.update(values[name])
    names = _names(source)
    return [
        Hazard(tensor, *names[tensor], of.danger, of.largest, of.error, of.subnormal, of.zeroed, tuple(touched[tensor]))
        for tensor, of in spreads.items()
        if of.danger is not None
    ]


def _touched(source: Graph) -> dict[str, list[str]]:
    """{tensor: outputs of the nodes that would read or return it in half}."""
    types = precision.element_types(source)
    found: dict[str, list[str]] = {}
    for node in precision.halves(source):
        for name in dict.fromkeys((*node.input, *node.output)):
            if types.get(name) == precision.FLOAT and name not in source.weights:
                found.setdefault(name, []).append(str(node.output[0]))
    return found


def _windows(graph: Path, tensors: Sequence[str], batches: Sequence[Batch]) -> Iterator[dict[str, NDArray[Any]]]:
    most = WINDOWS
    with engine.Tap(graph, tensors) as tap:
        for place, (recording, row) in enumerate(_rows(spread(batches, WINDOWS))):
            if place >= most:
                return
            values = tap.run(row, recording)
            if place == 0:
                size = sum(values[name].size for name in tensors)
                most = max(LEAST_WINDOWS, min(WINDOWS, BUDGET // max(1, size)))
            yield values


def _rows(batches: Sequence[Batch]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Single windows, the recordings in turn, so that few of them are of many recordings."""
    longest = max(map(len, batches), default=0)
    for place in range(longest):
        for batch in batches:
            if place < len(batch):
                yield batch.recording, batch.inputs[place : place + 1]


def _names(source: Graph) -> dict[str, tuple[str, str]]:
    """{tensor: (name, operator) of the node that returns it}."""
    titles = {layer.name: layer.title for layer in source.layers}
    found = {source.input: (source.input, "input")}
    for node in source.model.graph.node:
        for name in node.output:
            found[name] = (titles.get(name, name), str(node.op_type))
    return found
