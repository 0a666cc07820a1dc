from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgebind.calibration import speed
from edgebind.calibration.batches import Batch
from edgebind.calibration.speed import Speed


@pytest.mark.parametrize(("ratio", "says"), [(1.3, "SLOWER than FP32 here: 1.30x its time"), (0.5, "0.50x the time")])
def test_slower_is_said_aloud(ratio: float, says: str) -> None:
    found = Speed("a processor", False, "encoder.u8u8.onnx", 2.0, 2.0 * ratio, ratio, 20)
    assert says in str(found)
    assert found.to_dict()["is_slower"] is (ratio > 1)
    assert "a processor" in str(found)


def test_both_graphs_are_measured(encoder: Path, walks: list[Batch]) -> None:
    twin = Path(shutil.copy(encoder, encoder.with_name("twin.onnx")))
    found = speed.measure(encoder, twin, walks[0].inputs[:1], seconds=0.05)
    assert found.baseline_ms > 0
    assert found.candidate_ms > 0
    assert found.rounds >= 15
