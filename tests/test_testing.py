"""The stand-ins that users test with."""

from __future__ import annotations

import numpy as np
import pytest

from edgebind import testing
from edgebind.signals import Chunk, Embedding
from edgebind.testing import FakeClock, ListSink, ListSource


def test_a_list_is_a_source() -> None:
    chunk = Chunk(np.zeros(1, np.int64), np.zeros((1, 6), np.float32))
    with ListSource([chunk], modality="imu", name="fake") as source:
        assert list(source) == [chunk] == list(source)
        assert (source.name, source.modality, source.is_closed) == ("fake", "imu", False)
    assert source.is_closed


def test_a_list_is_a_sink() -> None:
    embedding = Embedding(0, 1, np.ones(1, np.float32))
    with ListSink() as sink:
        sink.write(embedding)
    assert sink.embeddings == [embedding]
    assert sink.is_closed


def test_a_clock_moves_when_told_to() -> None:
    clock = FakeClock(5)
    clock.advance(1.5)
    clock.sleep(0.25)
    assert clock.monotonic_ns() == 1_750_000_005
    assert clock.naps == pytest.approx([0.25])


def test_what_is_public_is_listed_and_told() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
