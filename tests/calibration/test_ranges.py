from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgebind.calibration import engine, ranges
from edgebind.calibration.batches import Batch, count, inputs, pieces, spread
from edgebind.calibration.observers import METHODS
from edgebind.errors import CalibrationError


def test_every_tensor_that_a_layer_reads_gets_a_range(encoder: Path, walks: list[Batch]) -> None:
    found = ranges.collect(encoder, walks)
    assert set(found) == set(METHODS)
    assert set(found["minmax"].tensors) == {"input", "r1", "n", "f", "c2"}
    assert found["minmax"].windows == count(walks) == 120


def test_min_and_max_are_those_of_the_tensors_themselves(encoder: Path, walks: list[Batch]) -> None:
    of = ranges.collect(encoder, walks)["minmax"].tensors
    with engine.Tap(encoder, ["r1"]) as tap:
        values = np.concatenate([tap.run(batch.inputs)["r1"] for batch in walks])
    assert of["r1"] == pytest.approx((values.min(), values.max()), rel=1e-5)
    everything = np.concatenate([batch.inputs for batch in walks])
    assert of["input"] == (everything.min(), everything.max())


def test_the_input_alone_is_tapped_where_layers_read_nothing_else(encoder: Path, walks: list[Batch]) -> None:
    with engine.Tap(encoder, ["input"]) as tap:
        found = tap.run(walks[0].inputs)
    assert set(found) == {"input"}
    np.testing.assert_array_equal(found["input"], walks[0].inputs)


def test_ranges_survive_json(encoder: Path, walks: list[Batch]) -> None:
    for of in ranges.collect(encoder, walks).values():
        assert ranges.from_json(of.to_json()) == of


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "other/1", "graph": "", "method": "", "windows": 1, "tensors": {}}',
     '{"format": "edgebind-ranges/1", "graph": "", "method": "", "windows": 1, "tensors": {"x": [2, 1]}}',
     '{"format": "edgebind-ranges/1", "graph": "", "method": "", "windows": 1, "tensors": {"x": [NaN, 1]}}',
     '{"format": "edgebind-ranges/1", "graph": "", "method": "", "windows": 1, "tensors": {"x": [0, 1e39]}}',
     '{"format": "edgebind-ranges/1", "graph": "", "method": "", "windows": Infinity, "tensors": {"x": [0, 1]}}'],
)  # fmt: skip
def test_a_damaged_file_is_refused(text: str) -> None:
    with pytest.raises(CalibrationError, match="not a ranges file"):
        ranges.from_json(text)


def test_a_report_is_told_from_ranges() -> None:
    with pytest.raises(CalibrationError, match=r"not a ranges file: format None \(wanted edgebind-ranges/1\)"):
        ranges.from_json('{"gate": {}}')


def test_a_bundle_without_ranges_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"^\S+ no ranges here \(wanted an INT8 bundle, or its ranges.json\)$"):
        ranges.read(tmp_path)


def test_ranges_belong_to_one_graph(encoder: Path, walks: list[Batch]) -> None:
    of = ranges.collect(encoder, walks)["minmax"]
    of.require_graph(encoder)
    model = onnx.load(encoder)
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save(model, encoder)
    with pytest.raises(CalibrationError, match="ranges of another graph"):
        of.require_graph(encoder)


def test_the_fingerprint_covers_external_weights(encoder: Path) -> None:
    model = onnx.load(encoder)
    onnx.save(model, encoder, save_as_external_data=True, location="encoder.onnx.data", size_threshold=0)
    before = ranges.fingerprint(encoder)
    data = bytearray((encoder.parent / "encoder.onnx.data").read_bytes())
    data[5] ^= 1
    (encoder.parent / "encoder.onnx.data").write_bytes(data)
    assert ranges.fingerprint(encoder) != before


def test_a_bad_window_stops_with_the_name_of_its_recording() -> None:
    with pytest.raises(CalibrationError, match=r"walk_7.*no numbers"):
        Batch("walk_7", np.array([[np.nan]], np.float32))


def test_windows_of_the_wrong_shape_stop_with_the_name_of_their_recording(encoder: Path) -> None:
    with pytest.raises(CalibrationError, match=r"limp.*wrong shape.*\(3, 32\)"):
        ranges.collect(encoder, [Batch("limp", np.zeros((2, 3, 31), np.float32))])


def test_an_activation_that_overflows_stops_with_the_name_of_its_recording(encoder: Path) -> None:
    with pytest.raises(CalibrationError, match="quake: activation"):
        ranges.collect(encoder, [Batch("quake", np.full((1, 3, 32), 3e38, np.float32))])


def test_no_windows_are_no_calibration(encoder: Path) -> None:
    with pytest.raises(CalibrationError, match="no windows to calibrate on"):
        ranges.collect(encoder, [])


@pytest.mark.parametrize("windows", [2510, 3, 1001, 7])
def test_spreading_stays_inside_whatever_the_step_rounds_to(windows: int) -> None:
    batch = Batch("walk", np.arange(windows, dtype=np.float32)[:, None])
    found = spread([batch], 1000)[0].inputs[:, 0]
    assert min(windows, 1000) <= len(found) <= min(windows, 1001)
    assert found[0] == 0
    assert found[-1] < windows
    assert (np.diff(found) > 0).all()


def test_spreading_keeps_every_recording(walks: list[Batch]) -> None:
    few = spread(walks, 12)
    assert [len(batch) for batch in few] == [2] * 6
    assert [batch.recording for batch in few] == [batch.recording for batch in walks]
    assert count(spread(walks, 10_000)) == 120


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_windows_of_several_recordings_run_together(size: int) -> None:
    batches = [Batch(str(n), np.arange(n, dtype=np.float32)[:, None] + 100 * n) for n in (1, 1, 5, 2, 7)]
    arrays = list(inputs(batches, size))
    np.testing.assert_array_equal(np.concatenate(arrays), np.concatenate([batch.inputs for batch in batches]))
    assert max(map(len, arrays)) <= size
    assert size == 1 or len(arrays) < sum(len(list(pieces([batch], size))) for batch in batches)


def test_nothing_is_left_beside_the_graph(encoder: Path, walks: list[Batch]) -> None:
    ranges.collect(encoder, walks[:1])
    assert [path.name for path in encoder.parent.iterdir()] == [encoder.name]
