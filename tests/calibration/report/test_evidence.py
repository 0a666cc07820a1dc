"""What a report's page shows: noise against a direct quantisation, clips as the graph has them, and a page that is whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgebind import drawing
from edgebind.calibration import gate, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.histogram import Histogram
from edgebind.calibration.observers import METHODS
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.report import evidence, layers, report_page
from edgebind.calibration.transforms.rewrites import Rewrites, Scaling
from edgebind.labels import LabelBank
from tests import bundles as tiny

HOP = 1_000_000_000


def observed(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.update(values)
    return histogram


@pytest.mark.parametrize("clip", [1.0, 2.5, 4.0, 12.0])
def test_the_noise_is_that_of_quantising(clip: float) -> None:
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    scale = clip / 127
    rounded = np.clip(np.rint(values / scale), -127, 127) * scale
    noise = np.mean((values - rounded) ** 2)
    wanted = 10 * np.log10(np.mean(values**2) / noise)
    assert evidence.sqnr(observed(values), scale) == pytest.approx(wanted, abs=0.3)


@pytest.fixture
def quantised(encoder: Path, walks: Sequence[Batch], tmp_path: Path) -> tuple[Path, Ranges]:
    of = ranges.collect(encoder, walks)["minmax"]
    graph = tmp_path / "int8" / "encoder.onnx"
    graph.parent.mkdir()
    qdq.write(encoder, of, qdq.TENSORRT, graph)
    return graph, of


def test_clips_are_the_graphs_own(quantised: tuple[Path, Ranges], walks: Sequence[Batch]) -> None:
    graph, of = quantised
    found = {clip.tensor: clip for clip in evidence.clips(graph, walks[:1], most=99)}
    assert set(found) == set(of.tensors) - {"c2"}  # that only CPUs write in 8 bits
    for name, clip in found.items():
        assert clip.chosen[1] == pytest.approx(max(map(abs, of.tensors[name])), rel=2e-3)  # scales are halves
        assert set(clip.others) == set(METHODS)
        assert clip.counts.sum() > 0
    worst = evidence.clips(graph, walks[:1], most=1)
    assert worst[0].sqnr_db == min(clip.sqnr_db for clip in found.values())


def test_a_graph_without_pairs_has_no_clips(encoder: Path, walks: Sequence[Batch]) -> None:
    assert evidence.clips(encoder, walks[:1]) == ()


def test_an_encoder_that_calibration_scaled_does_not_depart_by_that(
    encoder: Path, walks: Sequence[Batch], tmp_path: Path
) -> None:
    """Channels of c1 are divided by up to 2, and what reads them undoes it: nothing of this is a fault."""
    factors = tuple(np.linspace(0.5, 2, 8).tolist())
    scaling = Scaling("equalisation", "c1", factors, (("w1", 0), ("b1", 0)), (("w2", 1),))
    of = ranges.collect(encoder, walks)["minmax"]
    spans = {**of.tensors, "r1": (of.tensors["r1"][0], of.tensors["r1"][1] * 2)}
    of = replace(of, tensors=spans, rewrites=Rewrites((scaling,)))
    graph = tmp_path / "int8" / "encoder.onnx"
    graph.parent.mkdir()
    qdq.write(encoder, of, qdq.TENSORRT, graph)
    few = [walks[0].part(slice(0, 2))]
    apart = layers.compare(encoder, graph, few)
    assert apart.first is not None  # nobody knows of the scaling
    assert apart.first.tensor == "c1"
    (graph.parent / "ranges.json").write_text(of.to_json())
    alike = layers.compare(encoder, graph, few)
    assert alike.first is None
    assert alike.scaled == ()
    other = tmp_path / "other.onnx"
    model = onnx.load(encoder)
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]) * np.float32(1.001), "w1")
    )
    onnx.save(model, other)
    assert layers.compare(other, graph, few).scaled == ("c1",)  # of another FP32 graph: it can only be said


def test_labels_that_change_are_named() -> None:
    """Three windows of two recordings beside two labels; the last one's vector crosses the line between them."""
    bank = LabelBank(("rest", "walk"), np.eye(2, dtype=np.float32))
    before = np.array([[1, 0], [0, 1], [0.72, 0.69]], np.float32)
    after = np.array([[1, 0], [0.1, 0.99], [0.69, 0.72]], np.float32)
    batches = [
        Batch("a", np.zeros((1, 6, 8), np.float32), starts=np.array([5 * HOP])),
        Batch("b", np.zeros((2, 6, 8), np.float32), starts=np.array([5 * HOP, 7 * HOP])),
    ]
    cosines = np.array([1, 0.99, 0.9985])
    was, now = gate.nearest(before, bank), gate.nearest(after, bank)
    found = evidence.relabelled(batches, cosines, was, now, bank)
    assert found == (evidence.Relabelled("b", 2.0, 0.9985, "rest", "walk"),)
    assert gate.compare(before, after, bank).agreement == pytest.approx(2 / 3)
    assert evidence.relabelled(batches, cosines, was, now, LabelBank.empty(2)) is None


class Whole(HTMLParser):
    """Knows whether every element that is opened is closed, and what is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.fetched += [
            v for k, v in attrs if k in ("src", "href", "xlink:href") and v and v[0] != "#" and "data:" not in v
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_small_and_needs_nothing(
    encoder: Path, quantised: tuple[Path, Ranges], walks: Sequence[Batch], bank: LabelBank
) -> None:
    graph, _ = quantised
    timed = [replace(batch, starts=HOP * np.arange(len(batch))) for batch in walks]
    found = evidence.gather(encoder, {"encoder.onnx": graph}, timed[:4], timed[4:], bank)
    assert len(found.cosines["encoder.onnx"]) == found.of == 40
    assert found.worst[0].cosine == pytest.approx(found.cosines["encoder.onnx"].min())
    report: dict[str, Any] = {
        "bars": {"cosine_mean": gate.INT8.cosine_mean, "cosine_p1": gate.INT8.cosine_p1},
        "layers": {
            "quantised": 3,
            "float": [{"layer": "<w4>"}],
            "damage": {"w1": 0.01, "<w4>": 0.2},
            "sensitivity": [],
        },
        "transforms": [{"name": "smoothing", "kept": True, "cosine_after": 0.99}],
        "recordings": {"gate": {"walk_5": 20}},
    }
    with drawing.style():
        page = report_page.to_html(replace(tiny.IMU, gate={"cosine_mean": 0.999, "kept": []}), report, found)
    reader = Whole()
    reader.feed(page)
    assert reader.open == []
    assert reader.fetched == []
    assert len(page) < 1_000_000
    assert "&lt;w4&gt;" in page
    assert "<w4>" not in page
    worst = found.worst[0]
    assert f"{worst.recording} at {worst.start_s:g} s" in page
    assert "smoothing" in page
    assert "Labels that changed" in page
    assert page.count("<svg") == 1 + len(found.worst) + 2 + len(found.clips)
