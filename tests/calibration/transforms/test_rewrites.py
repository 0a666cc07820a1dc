from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgebind.calibration import engine, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.switches import Switchboard
from edgebind.calibration.transforms import rewrites
from edgebind.calibration.transforms.rewrites import Rewrites, Scaling
from edgebind.errors import CalibrationError

SMOOTHED = Scaling("smoothing", "n", tuple(np.linspace(0.5, 4, 8)), (("scale", 0), ("shift", 0)), (("w3", 0),))


def test_a_scaling_worked_by_hand(encoder: Path) -> None:
    before, graph = Graph.read(encoder), Graph.read(encoder)
    rewrites.apply(graph, Rewrites((SMOOTHED,)))
    factors = np.array(SMOOTHED.factors, np.float32)
    np.testing.assert_allclose(graph.value("scale"), 1 / factors)
    np.testing.assert_allclose(graph.value("w3"), np.diag(factors) @ before.value("w3"), rtol=1e-6)
    np.testing.assert_array_equal(graph.value("w4"), before.value("w4"))


@pytest.mark.parametrize("external", [False, True])
def test_the_scaled_graph_computes_the_same(encoder: Path, walks: list[Batch], tmp_path: Path, external: bool) -> None:
    if external:
        onnx.save(onnx.load(encoder), encoder, save_as_external_data=True, location="w.data", size_threshold=100)
    target = tmp_path / "elsewhere" / "scaled.onnx"
    target.parent.mkdir()
    rewrites.write(encoder, Rewrites((SMOOTHED,)), target)
    onnx.checker.check_model(target, full_check=True)
    assert target.with_name("scaled.onnx.data").exists() is external
    np.testing.assert_allclose(Graph.read(target).value("shift"), Graph.read(encoder).value("shift") / SMOOTHED.factors)
    found = engine.embed(target, walks, optimise=True)
    np.testing.assert_allclose(found, engine.embed(encoder, walks, optimise=True), atol=1e-6)


def test_ranges_carry_them_through_json(encoder: Path, walks: list[Batch]) -> None:
    plain = ranges.collect(encoder, walks[:1])["minmax"]
    assert "rewrites" not in plain.to_json()
    full = replace(plain, rewrites=Rewrites((SMOOTHED,), {"m": (0.5,) * 8, "g": (1e-7,) * 16}))
    assert ranges.from_json(full.to_json()) == full
    spoilt = full.to_json().replace('"factors": [0.5', '"factors": [0.0')
    with pytest.raises(CalibrationError, match="not a ranges file: factor"):
        ranges.from_json(spoilt)


@pytest.mark.parametrize("scheme", qdq.SCHEMES, ids=lambda scheme: scheme.file)
@pytest.mark.parametrize("layer", ["c1", "m", "g"])  # with a bias, without one, with one behind a turned weight
def test_a_correction_is_added_to_one_layer(encoder: Path, walks: list[Batch], scheme: qdq.Scheme, layer: str) -> None:
    plain = ranges.collect(encoder, walks[:2])["minmax"]
    channels = 16 if layer == "g" else 8
    wanted = np.linspace(-0.2, 0.2, channels)
    others = [other.name for other in Graph.read(encoder).layers if other.name != layer]
    corrected = replace(plain, rewrites=Rewrites((), {layer: tuple(wanted)}))
    found = []
    for of in (plain, corrected):
        target = encoder.parent / scheme.file
        qdq.write(encoder, of, scheme, target, others)
        onnx.checker.check_model(target, full_check=True)
        with engine.Tap(target, [layer]) as tap:
            found.append(np.moveaxis(tap.run(walks[0].inputs)[layer], 1 if layer == "c1" else -1, -1))
    np.testing.assert_allclose(found[1] - found[0], np.broadcast_to(wanted, found[0].shape), atol=1e-3)


def test_a_layer_in_float_is_not_corrected(encoder: Path, walks: list[Batch]) -> None:
    plain = ranges.collect(encoder, walks[:2])["minmax"]
    names = [layer.name for layer in Graph.read(encoder).layers]
    corrected = replace(plain, rewrites=Rewrites((SMOOTHED,), dict.fromkeys(names[:2], (9.0,) * 8)))
    qdq.write(encoder, corrected, qdq.U8S8, encoder.parent / "kept.onnx", names)
    kept = engine.embed(encoder.parent / "kept.onnx", walks, optimise=False)
    np.testing.assert_allclose(kept, engine.embed(encoder, walks, optimise=False), atol=1e-6)


def test_a_matmul_takes_the_bias_of_the_add_behind_it(transformer: Path, windows: Callable[..., list[Batch]]) -> None:
    graph = Graph.read(transformer)
    before = graph.value("b0.mlp.fc1.b")
    rewrites.apply(graph, Rewrites((), {"b0.mlp.fc1.product": (1.0,) * 64}))
    np.testing.assert_allclose(graph.value("b0.mlp.fc1.b"), before + 1)
    assert len(graph.model.graph.node) == len(Graph.read(transformer).model.graph.node)


@pytest.mark.parametrize("scheme", qdq.SCHEMES, ids=lambda scheme: scheme.file)
def test_a_switchboard_turns_a_correction_with_its_layer(
    encoder: Path, walks: list[Batch], tmp_path: Path, scheme: qdq.Scheme
) -> None:
    plain = ranges.collect(encoder, walks[:4])["minmax"]
    corrections = {"c1": (0.1,) * 8, "m": tuple(np.linspace(-0.2, 0.2, 8)), "g": (0.05,) * 16}
    spans = replace(plain, rewrites=Rewrites((SMOOTHED,), corrections))
    layers = {layer.name for layer in Graph.read(encoder).layers}
    with Switchboard(encoder, spans, scheme, tmp_path) as board:
        for quantised in ({"c1", "m", "g"}, {"m"}, {"c1", "c2"}, {"g", "c2"}, set[str]()):
            qdq.write(encoder, spans, scheme, tmp_path / "written.onnx", layers - quantised)
            expected = engine.embed(tmp_path / "written.onnx", walks[:1], optimise=False)
            # an int32 bias is rounded, which shifts a value here and there by a step of the next layer's
            most = 3e-4 if scheme.integer_biases else 1e-7
            assert np.abs(board.embed(walks[:1], quantised) - expected).mean() < most


def test_what_does_not_fit_is_refused(encoder: Path) -> None:
    for wrong in (
        Rewrites((replace(SMOOTHED, multiplied=(("gone", 0),)),)),
        Rewrites((replace(SMOOTHED, multiplied=(("w1", 1),)),)),
        Rewrites((), {"gone": (0.0,)}),
    ):
        with pytest.raises(CalibrationError, match=r"no constant|no layer"):
            rewrites.apply(Graph.read(encoder), wrong)
