"""What a window looks like in its sensor's units, against NumPy's own mean and deviation."""

from __future__ import annotations

import numpy as np
import pytest

from edgebind.traits import Traits
from tests.recordings import CHANNELS, UNITS

IMU = Traits("imu", CHANNELS, UNITS)
THERMAL = Traits("thermal", ("intensity",), ("grey level",))


def named(traits: Traits, samples: np.ndarray) -> dict[str, float]:
    return dict(zip(traits.names, traits([samples])[0].tolist(), strict=True))


def test_a_signal_is_told_by_the_level_and_spread_of_its_channels() -> None:
    samples = np.random.default_rng(0).normal(2.0, 3.0, (6, 200)).astype(np.float32)
    found = named(IMU, samples)
    assert found["level of ay"] == pytest.approx(samples[1].mean(), rel=1e-5)
    assert found["spread of gz"] == pytest.approx(np.log(samples[5].std()), abs=1e-4)
    assert found["gravity"] == pytest.approx(np.log(np.linalg.norm(samples[:3].mean(axis=1))), abs=1e-5)
    assert not any("level of g" in name for name in IMU.names)


def test_a_gain_is_a_shift_of_the_spreads() -> None:
    samples = np.random.default_rng(1).normal(size=(6, 200)).astype(np.float32)
    before, after = named(IMU, samples), named(IMU, 10 * samples)
    for channel in CHANNELS:
        assert after[f"spread of {channel}"] - before[f"spread of {channel}"] == pytest.approx(np.log(10), abs=1e-3)


def test_a_dead_channel_has_a_finite_spread_far_below_any_other() -> None:
    found = named(IMU, np.full((6, 200), 9.81, np.float32))
    assert np.isfinite(list(found.values())).all()
    assert found["spread of ax"] < -10


def test_a_frame_is_told_by_level_spread_and_detail() -> None:
    frame = np.random.default_rng(2).integers(0, 255, (32, 40), np.uint8)
    found = named(THERMAL, frame)
    assert found["level of intensity"] == pytest.approx(frame.mean(), rel=1e-5)
    assert found["spread of intensity"] == pytest.approx(np.log(frame.std()), abs=1e-5)
    steps = np.abs(np.diff(frame.astype(float), axis=1)).mean()
    assert found["detail of intensity"] == pytest.approx(np.log(steps / frame.std()), abs=1e-5)
    blurred = frame.reshape(32, 10, 4).mean(axis=2).repeat(4, axis=1)
    assert named(THERMAL, blurred)["detail of intensity"] < found["detail of intensity"] - 0.3


def test_holes_of_a_depth_map_are_left_out() -> None:
    depth = Traits("depth", ("distance",), ("m",))
    frame = np.full((8, 8), 2.0, np.float32)
    frame[0] = np.nan
    assert named(depth, frame)["level of distance"] == 2.0
    assert np.isfinite(depth([np.full((8, 8), np.nan, np.float32)])).all()


def test_colours_are_measured_one_by_one_and_prompts_not_at_all() -> None:
    vision = Traits("vision", ("red", "green", "blue"), ("grey level",) * 3)
    frame = np.stack([np.full((4, 6), level, np.uint8) for level in (10, 20, 30)], axis=2)
    found = named(vision, frame)
    assert [found[f"level of {colour}"] for colour in ("red", "green", "blue")] == [10, 20, 30]
    assert Traits("text", ("token",), ("id",)).names == ()
