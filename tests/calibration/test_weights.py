from __future__ import annotations

import numpy as np
import pytest

from edgebind.calibration import qdq
from edgebind.calibration.weights import (
    SCALINGS,
    least_error_weight_scales,
    rounding_errors,
    symmetric_weight_scales,
)

RANDOM = np.random.default_rng(5)
ROWS = {
    "normal": RANDOM.normal(size=(16, 400)),
    "heavy": RANDOM.standard_t(2.5, size=(16, 400)),
    "uniform": RANDOM.uniform(-1, 1, size=(16, 400)),
}


def test_scales_are_one_a_channel() -> None:
    weight = np.zeros((3, 2, 5), np.float32)
    weight[0, 1, 2], weight[2, 0, 0] = -12.7, 254
    assert symmetric_weight_scales(weight, 0).tolist() == pytest.approx([0.1, 1, 2])
    assert symmetric_weight_scales(weight, 1).tolist() == pytest.approx([2, 0.1])


@pytest.mark.parametrize("name", ROWS)
def test_no_other_scale_of_a_dense_search_is_better(name: str) -> None:
    rows = ROWS[name].astype(np.float32)
    largest = symmetric_weight_scales(rows, 0)
    dense = [rounding_errors(rows, (largest * share).astype(np.float32)) for share in np.linspace(0.2, 1, 400)]
    found = rounding_errors(rows, least_error_weight_scales(rows, 0))
    assert (found <= rounding_errors(rows, largest)).all()
    assert (found <= 1.25 * np.min(dense, axis=0)).all()  # with so few weights the error jumps from scale to scale
    assert found.sum() <= 1.1 * np.min(dense, axis=0).sum()


def test_a_long_gaussian_row_is_clipped_where_the_literature_has_it() -> None:
    """Banner et al. 2019: at 3.92 standard deviations."""
    row = np.random.default_rng(1).normal(size=(1, 1_000_000)).astype(np.float32)
    assert 127 * least_error_weight_scales(row, 0)[0] == pytest.approx(3.92, rel=0.05)


def test_errors_of_a_hand_worked_case() -> None:
    """Scale 1: 0.25 and -0.5 round to 0, 126.75 to 127, 130 is cut to 127."""
    errors = rounding_errors(np.array([[0.25, -0.5, 126.75, 130]], np.float32), np.array([1], np.float32))
    assert errors[0] == pytest.approx(1 / 16 + 1 / 4 + 1 / 16 + 9)


def test_the_axis_of_channels_may_be_any() -> None:
    weight = np.random.default_rng(2).standard_t(3, size=(16, 20, 400)).astype(np.float32)
    expected = least_error_weight_scales(weight, 0)
    assert least_error_weight_scales(np.moveaxis(weight, 0, 2), 2).tolist() == expected.tolist()
    assert expected.shape == (16,)
    assert (expected < 0.98 * symmetric_weight_scales(weight, 0)).any()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_channel_of_zeros_and_one_of_a_single_weight(scaling: str) -> None:
    weight = np.array([[0, 0, 0], [0, -254, 0]], np.float32)
    assert SCALINGS[scaling](weight, 0).tolist() == [1, 2]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_no_scale_is_zero_where_weight_decay_left_next_to_nothing(scaling: str) -> None:
    weight = np.array([[1e-45, -2e-45], [1.0, -0.5]], np.float32)  # / 127 is zero in float32
    integers, grid = qdq.quantise_weight(weight, 0, qdq.TENSORRT, scaling=SCALINGS[scaling])
    assert (grid.scale > 0).all()
    np.testing.assert_allclose(integers * grid.scale[:, None], weight, atol=0.004)


def test_integers_and_scales_belong_together() -> None:
    weight = ROWS["heavy"].astype(np.float32)
    for scheme in qdq.SCHEMES:
        integers, grid = qdq.quantise_weight(weight, 0, scheme, scaling=least_error_weight_scales)
        restored = (integers.astype(np.float32) - grid.zero[:, None]) * grid.scale[:, None]
        errors = np.square(restored - weight).sum(axis=1)
        scales = qdq.next_halves(least_error_weight_scales(weight, 0))
        assert errors == pytest.approx(rounding_errors(weight, scales), rel=1e-3)
