"""Replay in time, on a clock that is moved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgebind.errors import OptionError
from edgebind.signals import Chunk
from edgebind.sources.pacing import AT_ONCE, Paced, parse_speed
from edgebind.testing import FakeClock, ListSource

MS = 1_000_000


def chunks() -> list[Chunk]:
    return [Chunk(np.array([t, t + 10]) * MS, np.zeros((2, 6), np.float32)) for t in (1000, 1020, 1540)]


@pytest.mark.parametrize(("speed", "naps"), [(1.0, [0.01, 0.02, 0.52]), (2.0, [0.005, 0.01, 0.26]), (AT_ONCE, [])])
def test_chunks_come_when_their_last_sample_would_have(speed: float, naps: list[float]) -> None:
    clock = FakeClock(now_ns=77)
    with Paced(ListSource(chunks()), speed, clock) as source:
        assert len(list(source)) == 3
    assert clock.naps == pytest.approx(naps)


def test_time_lost_elsewhere_is_made_up() -> None:
    clock = FakeClock()
    for chunk in Paced(ListSource(chunks()), 1.0, clock):
        if chunk.times[0] == 1000 * MS:
            clock.advance(0.3)
    assert clock.naps == pytest.approx([0.01, 0.24])


def test_it_closes_what_it_paces() -> None:
    inner = ListSource(chunks(), name="inner")
    with Paced(inner) as source:
        assert (source.name, source.modality) == ("inner", "imu")
    assert inner.is_closed


def test_speeds() -> None:
    assert parse_speed("max") == AT_ONCE
    assert parse_speed("2.5") == 2.5


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf", ""])
def test_speeds_that_do_not_fit(text: str) -> None:
    with pytest.raises(OptionError, match="--speed does not fit"):
        parse_speed(text)
