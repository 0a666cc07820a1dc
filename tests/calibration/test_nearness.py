"""A graph's nearness to FP32, and that a large tower is asked no more often than it must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration import engine, nearness, qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.nearness import Nearness
from edgebind.calibration.subject import Subject
from edgebind.labels import LabelBank


@pytest.fixture
def subject(encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path) -> Subject:
    return Subject.of(encoder, walks[0], bank, tmp_path, lambda stage: None)


def test_cosines_are_those_of_the_written_graph(subject: Subject, walks: list[Batch]) -> None:
    found = ranges.collect(subject.graph, walks[:4])["entropy"]
    qdq.write(subject.graph, found, qdq.TENSORRT, subject.scratch / "int8.onnx")
    for row, cosine in zip(walks[4].inputs, Nearness(subject, walks[4:5]).cosines(found), strict=True):
        batch = [Batch("alone", row[None])]
        fp32 = engine.embed(subject.graph, batch, optimise=True)
        int8 = engine.embed(subject.scratch / "int8.onnx", batch, optimise=False)
        assert cosine == pytest.approx(float(np.vdot(fp32, int8)), abs=1e-6)


def test_no_graph_is_measured_twice(subject: Subject, walks: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    by_method = ranges.collect(subject.graph, walks[:4])
    twin = {**by_method, "minmax by another name": replace(by_method["minmax"], method="minmax by another name")}
    near = Nearness(subject, walks[:1])
    asked: list[Path] = []
    embed = engine.embed

    def counted(graph: Path, batches: Sequence[Batch], *, optimise: bool) -> np.ndarray:
        asked.append(graph)
        return embed(graph, batches, optimise=optimise)

    monkeypatch.setattr(engine, "embed", counted)
    method, scores = nearness.choose(near, twin)
    nearness.choose_weights(near, twin[method])
    assert scores["minmax"] == scores["minmax by another name"]
    assert len(asked) == len(by_method) + 1  # the other scales of weights
