"""Bias correction: the mean error of each quantised layer, taken off again.

Source: M. Nagel et al., ICCV 2019, section 4.2, the empirical form. Rounding and clipping shift the mean of a layer's
output by E[y8] - E[y], which a bias can carry. Layers are corrected one after the other in the order of execution, each
behind quantised and corrected ones, so that a shift is not taken off twice.

The quantised graph is cut behind each layer and run piece by piece, for all windows before the next piece begins: so all
layers cost one pass, and not one pass each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import engine
from edgebind.calibration.batches import Batch, pieces
from edgebind.calibration.graph import Layer, require_onnx
from edgebind.calibration.transforms.rewrites import short

if TYPE_CHECKING:
    import onnx

METHOD = "bias correction"

Floats = NDArray[np.float64]
State = dict[str, np.ndarray]
"""The tensors of some windows that nodes to come will read."""


def corrections(
    wanted: Mapping[str, Floats], quantised: Path, layers: Sequence[Layer], batches: Sequence[Batch]
) -> dict[str, tuple[float, ...]]:
    """Layer -> what to add to its output so that its mean over windows and places is FP32's.

    Parameters
    ----------
    wanted: `pooled` means of the FP32 graph with the scalings that `quantised` has, on the same windows.
    layers: all that are quantised, in the order of execution.
    """
    cut = _Pieces(quantised)
    states: list[State] = [{cut.input: batch.inputs} for batch in pieces(batches, engine.BATCH)]
    found = {}
    for layer in layers:
        states = cut.advance(layer.name, states)
        shift = wanted[layer.name] - _mean([state[layer.name] for state in states], layer)
        found[layer.name] = short(shift)
        for state in states:
            state[layer.name] = state[layer.name] + _on_channels(shift, layer, state[layer.name].ndim)
    return found


Means = dict[str, Floats]
"""Layer -> mean of each channel of its output, (channels,)."""


def float_means(graph: Path, layers: Sequence[Layer], batches: Sequence[Batch]) -> list[Means]:
    """Of each batch, in FP32."""
    with engine.Tap(graph, [layer.name for layer in layers]) as tap:
        return [_batch_means(tap, layers, batch) for batch in batches]


def _batch_means(tap: engine.Tap, layers: Sequence[Layer], batch: Batch) -> Means:
    sums: dict[str, Any] = dict.fromkeys((layer.name for layer in layers), 0.0)
    for row in batch.inputs:
        values = tap.run(row[None], batch.recording)
        for layer in layers:
            sums[layer.name] = sums[layer.name] + _mean([values[layer.name]], layer)
    return {name: total / len(batch) for name, total in sums.items()}


def pooled(means: Sequence[Means], batches: Sequence[Batch]) -> Means:
    """Of all batches together, each counted by its windows."""
    shares = [len(batch) for batch in batches]
    return {name: np.average([of[name] for of in means], axis=0, weights=shares) for name in means[0]}


def _mean(values: Sequence[np.ndarray], layer: Layer) -> Floats:
    """Of each channel, over windows and places: (channels,)."""
    axis = 1 if layer.op == "Conv" else -1
    rows = [np.moveaxis(value, axis, -1).reshape(-1, value.shape[axis]) for value in values]
    total = sum(row.sum(axis=0, dtype=np.float64) for row in rows)
    mean: Floats = total / sum(map(len, rows))
    return mean


def _on_channels(shift: Floats, layer: Layer, rank: int) -> NDArray[np.float32]:
    shape = (-1, *(1,) * (rank - 2)) if layer.op == "Conv" else (-1,)
    return shift.astype(np.float32).reshape(shape)


class _Pieces:
    """A graph that is run from one layer to the next."""

    def __init__(self, path: Path) -> None:
        self._onnx = require_onnx()
        self._path = path
        self._model = self._onnx.load(path)
        self._weights = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self._left = list(self._model.graph.node)
        self.input = str(self._model.graph.input[0].name)

    def advance(self, stop: str, states: Sequence[State]) -> list[State]:
        """Run all nodes up to the one that returns `stop`."""
        place = next(i for i, node in enumerate(self._left) if stop in node.output)
        nodes, self._left = self._left[: place + 1], self._left[place + 1 :]
        wanted = {name for node in self._left for name in node.input} | {stop, self._model.graph.output[0].name}
        made = [name for node in nodes for name in node.output if name and name in wanted]  # "" is an output left out
        read = [name for name in dict.fromkeys(self._reads(nodes)) if name in states[0]]
        piece = self._model_of(nodes, read, made, states[0])
        session = engine.session(piece.SerializeToString(), self._path, optimise=False)
        return [
            {name: value for name, value in state.items() if name in wanted}
            | dict(zip(made, session.run(made, {name: state[name] for name in read}), strict=True))
            for state in states
        ]

    def _reads(self, nodes: Sequence[onnx.NodeProto]) -> Iterator[str]:
        for node in nodes:
            yield from node.input

    def _model_of(
        self, nodes: Sequence[onnx.NodeProto], read: Sequence[str], made: Sequence[str], state: Mapping[str, np.ndarray]
    ) -> onnx.ModelProto:
        helper = self._onnx.helper
        kinds = {name: helper.np_dtype_to_tensor_dtype(state[name].dtype) for name in read}
        used = [self._weights[name] for name in dict.fromkeys(self._reads(nodes)) if name in self._weights]
        graph = helper.make_graph(
            nodes,
            "piece",
            [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
            [self._onnx.ValueInfoProto(name=name) for name in made],
            used,
        )
        return helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
