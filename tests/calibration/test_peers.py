"""The same graph and the same windows through ONNX Runtime's own calibrators."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

from edgebind.calibration import ranges
from edgebind.calibration.batches import Batch
from edgebind.calibration.histogram import BINS, Range

TENSORS = ("input", "r1", "n", "f")


class Windows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, windows: list[np.ndarray]) -> None:
        self._left: Iterator[np.ndarray] = iter(windows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        window = next(self._left, None)
        return None if window is None else {"input": window[None]}


def theirs(encoder: Path, batches: list[Batch], method: Any, *, one_by_one: bool = False, **options: Any) -> Any:
    """{tensor: (low, high)}; `one_by_one` hands them each window as a batch of its own."""
    calibrator = create_calibrator(
        encoder,
        augmented_model_path=str(encoder.with_name("augmented.onnx")),
        calibrate_method=method,
        extra_options=options,
    )
    windows = [window for batch in batches for window in batch.inputs]
    with contextlib.redirect_stdout(io.StringIO()):
        for part in [[window] for window in windows] if one_by_one else [windows]:
            calibrator.collect_data(Windows(part))
        data = calibrator.compute_data()
    return {name: tuple(float(np.squeeze(v)) for v in data[name].range_value) for name in TENSORS}


def ours(encoder: Path, batches: list[Batch], method: str) -> dict[str, Range]:
    of = ranges.collect(encoder, batches)[method].tensors
    return {name: of[name] for name in TENSORS}


def test_min_and_max(encoder: Path, walks: list[Batch]) -> None:
    expected = theirs(encoder, walks, CalibrationMethod.MinMax)
    for name, found in ours(encoder, walks, "minmax").items():
        assert found == pytest.approx(expected[name], rel=1e-6), name


def test_moving_average(encoder: Path, walks: list[Batch]) -> None:
    expected = theirs(
        encoder, walks, CalibrationMethod.MinMax, one_by_one=True, moving_average=True, averaging_constant=0.01
    )
    for name, found in ours(encoder, walks, "moving-average").items():
        assert found == pytest.approx(expected[name], rel=1e-5, abs=1e-6), name


def test_percentile(encoder: Path, walks: list[Batch]) -> None:
    """Theirs interpolates nothing, so they agree to a few bins of the coarser histogram."""
    options: dict[str, Any] = {"num_bins": BINS, "percentile": 99.9, "symmetric": False}
    expected = theirs(encoder, walks, CalibrationMethod.Percentile, **options)
    whole = ours(encoder, walks, "minmax")
    for name, found in ours(encoder, walks, "percentile-99.9").items():
        bin_width = (whole[name][1] - whole[name][0]) / BINS
        assert found == pytest.approx(expected[name], abs=4 * bin_width), name


def test_entropy(encoder: Path, walks: list[Batch]) -> None:
    """Theirs bins both signs together, so they agree in kind, not to the digit.

    Not at all behind a ReLU, where theirs leaves the bin at zero as it is; see `Entropy`.
    """
    options: dict[str, Any] = {"num_bins": 512, "num_quantized_bins": 128, "symmetric": True}
    expected = theirs(encoder, walks, CalibrationMethod.Entropy, **options)
    found_in = ours(encoder, walks, "entropy")
    for name in ("input", "n", "f"):
        found = found_in[name]
        assert max(-found[0], found[1]) == pytest.approx(max(-expected[name][0], expected[name][1]), rel=0.35), name
