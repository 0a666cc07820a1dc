from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration import engine, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.transforms import correction
from edgebind.calibration.transforms.rewrites import Rewrites


def means(path: Path, tensors: dict[str, int], batches: list[Batch]) -> dict[str, np.ndarray]:
    """Of each channel of each tensor, whose axis of channels is given."""
    with engine.Tap(path, list(tensors)) as tap:
        values = tap.run(np.concatenate([batch.inputs for batch in batches]))
    turned = {name: np.moveaxis(values[name], axis, -1) for name, axis in tensors.items()}
    return {name: value.reshape(-1, value.shape[-1]).mean(axis=0) for name, value in turned.items()}


@pytest.mark.parametrize("kind", ["encoder", "transformer"])
def test_every_layer_ends_with_the_mean_of_fp32(
    kind: str, walks: list[Batch], windows: Callable[..., list[Batch]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The property that defines it, measured in the whole corrected graph, which never ran while it was made."""
    graph: Path = request.getfixturevalue(kind)
    batches = walks[:3] if kind == "encoder" else windows(12, 32)
    layers = Graph.read(graph).layers
    plain = ranges.collect(graph, batches)["percentile-99.9"]  # clips, so there is something to correct
    qdq.write(graph, plain, qdq.TENSORRT, tmp_path / "plain.onnx")
    wanted = correction.pooled(correction.float_means(graph, layers, batches), batches)
    found = correction.corrections(wanted, tmp_path / "plain.onnx", layers, batches)
    qdq.write(graph, replace(plain, rewrites=Rewrites((), found)), qdq.TENSORRT, tmp_path / "corrected.onnx")
    behind_bias = {layer.name.replace(".product", ".out"): 1 if layer.op == "Conv" else -1 for layer in layers}
    exact, before, after = (
        means(path, behind_bias, batches) for path in (graph, tmp_path / "plain.onnx", tmp_path / "corrected.onnx")
    )
    assert found.keys() == {layer.name for layer in layers}
    for name, mean in exact.items():
        error = np.abs(before[name] - mean).max()
        assert error > 1e-3, name
        assert np.abs(after[name] - mean).max() < error / 5, name
