"""Two sides of one stretch: the student sees the middle of what its teacher sees, at its own rate, and nothing folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgebind.errors import OptionError
from edgebind.manifest import WindowSpec
from edgebind.train.data.views import drawn_window, middle

TEACHER = WindowSpec(400.0, 5.0, 2.5, ("ax", "gx"), ("m/s²", "rad/s"))
STUDENT = replace(TEACHER, rate_hz=100.0, seconds=2.0)


def _waves(spec: WindowSpec, start: float, *hertz: float) -> np.ndarray:
    """(channels, length): a wave a channel, from `start` seconds on."""
    times = start + np.arange(spec.length) / spec.rate_hz
    return np.stack([np.sin(2 * np.pi * f * times) for f in hertz]).astype(np.float32)


def test_what_is_drawn_holds_both() -> None:
    drawn = drawn_window(STUDENT, TEACHER)
    assert (drawn.rate_hz, drawn.seconds, drawn.hop_seconds) == (400.0, 5.0, 2.5)
    faster = replace(STUDENT, rate_hz=800.0)
    assert drawn_window(faster, TEACHER).rate_hz == 800.0


def test_the_student_sees_the_middle_at_its_own_rate() -> None:
    #  0 s        1.5 s [ student ) 3.5 s        5 s
    found = middle(_waves(TEACHER, 0.0, 3.0, 7.0), TEACHER, STUDENT)
    assert found.shape == (2, 200)
    np.testing.assert_allclose(found, _waves(STUDENT, 1.5, 3.0, 7.0), atol=5e-3)


def test_what_the_students_rate_cannot_hold_is_filtered_out() -> None:
    # 90 Hz, taken every hundredth second, would look like 10 Hz at full strength.
    found = middle(_waves(TEACHER, 0.0, 90.0, 3.0), TEACHER, STUDENT)
    assert np.abs(found[0]).max() < 0.01


def test_a_denser_grid_is_a_straight_line_between_samples() -> None:
    slow = replace(TEACHER, rate_hz=50.0)
    ramp = np.stack([np.arange(250.0), -np.arange(250.0)]).astype(np.float32)
    found = middle(ramp, slow, replace(slow, rate_hz=100.0, seconds=1.0))
    np.testing.assert_allclose(found[0], 100 + np.arange(100) / 2, atol=1e-4)


def test_the_same_window_is_the_same_samples() -> None:
    samples = _waves(TEACHER, 0.0, 1.0, 2.0)
    assert middle(samples, TEACHER, TEACHER) is samples


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (replace(STUDENT, seconds=6.0), "longer than its teacher's .*at most 5 s, got 6 s"),
        (replace(STUDENT, channels=("ax", "ay")), "read other channels"),
        (replace(STUDENT, units=("g", "rad/s")), "read other channels"),
    ],
)
def test_sides_that_do_not_fit_are_one_clear_line(student: WindowSpec, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        drawn_window(student, TEACHER)
