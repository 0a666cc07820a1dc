from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration.batches import Batch
from edgebind.calibration.graph import Graph
from edgebind.calibration.transforms import sites, smoothing, statistics
from edgebind.calibration.transforms.statistics import Channels
from tests.calibration.transforms.conftest import OUTLIERS


def test_factors_worked_by_hand() -> None:
    reads = Channels(np.array([8, 0.5], np.float32), np.zeros((1, 2), np.float32))
    weights = np.array([[0.5, -0.25], [1, 2]], np.float32)  # (channels, outputs)
    assert smoothing.factors([(reads, weights)], 0.5).tolist() == pytest.approx(
        [4, 0.5]
    )  # sqrt(8 / 0.5), sqrt(0.5 / 2)
    assert smoothing.factors([(reads, weights)], 1.0).tolist() == pytest.approx([8, 0.5])  # all of it into the weights
    both = [(reads, weights), (reads, 4 * weights)]  # two layers: the farther reach of the two
    assert smoothing.factors(both, 0.5).tolist() == pytest.approx([2, 0.25])


def test_a_channel_that_stood_still_is_taken_to_reach_as_far_as_any() -> None:
    """Behind a ReLU a third of the channels may be zero in a hundred windows, and one of them not in the next."""
    reads = Channels(np.array([8, 0], np.float32), np.zeros((1, 2), np.float32))
    weights = np.array([[0.5, -0.25], [1, 2]], np.float32)
    assert smoothing.factors([(reads, weights)], 0.5).tolist() == pytest.approx([4, 2])  # sqrt(8 / 0.5), sqrt(8 / 2)


def test_the_error_worked_by_hand() -> None:
    """Reach 127: integers are exact steps of 1, so 0.4 is lost and 1.0 kept; the weight's 127 steps of 1 are exact."""
    reads = Channels(np.array([127], np.float32), np.array([[0.4], [1.0]], np.float32))
    assert smoothing.error([(reads, np.array([[127.0]], np.float32))], np.ones(1, np.float32)) == pytest.approx(
        (0.4 * 127) ** 2, rel=1e-5
    )


def test_statistics_are_those_of_numpy(transformer: Path, windows: Callable[..., list[Batch]]) -> None:
    from edgebind.calibration import engine

    batches = windows(12, 32)
    found = statistics.collect(transformer, ["b1.mlp.normed"], batches)["b1.mlp.normed"]
    with engine.Tap(transformer, ["b1.mlp.normed"]) as tap:
        every = np.concatenate([tap.run(batch.inputs)["b1.mlp.normed"] for batch in batches]).reshape(-1, 32)
    np.testing.assert_allclose(found.largest, np.abs(every).max(axis=0), rtol=1e-5)
    assert 200 <= len(found.rows) <= 300
    for row in found.rows[:20]:
        assert np.isclose(every, row, atol=1e-5).all(axis=1).any()


def test_outlier_channels_shrink_and_others_do_not_suffer(outlying: Path, windows: Callable[..., list[Batch]]) -> None:
    graph = Graph.read(outlying)
    places = sites.find(graph)
    tensors = [layer.activation for site in places for layer in site.layers]
    found = smoothing.scalings(graph, places, statistics.collect(outlying, tensors, windows(12, 32)))
    assert len(found) == 6
    for scaling in found:
        others = np.delete(np.array(scaling.factors), OUTLIERS)
        assert min(scaling.factors[place] for place in OUTLIERS) > 5 * others.max()
