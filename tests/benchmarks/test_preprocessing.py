"""The figures are of what they say; how long things take is nobody's business here."""

from __future__ import annotations

from edgebind.benchmarks import preprocessing


def test_pictures_have_pixels_to_save() -> None:
    found = preprocessing.measure("vision", rounds=1)
    assert (found["floats_kb"], found["pixels_kb"]) == (602.112, 150.528)  # 3 x 224 x 224, of four bytes and of one
    assert {"whole_ms", "saved_ms_1", "saved_ms_16", "left_ms"} < found.keys()
    assert found["frame_kb"] == 921.6  # 640 x 480 x 3
    assert preprocessing.measure("thermal", rounds=1)["pixels_kb"] == 50.176
    assert preprocessing.measure("imu", rounds=1).keys() == {"whole_ms", "floats_kb"}
