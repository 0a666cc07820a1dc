"""However a signal is cut into chunks, its windows are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebind import clock
from edgebind.signals import NANOSECONDS, Chunk, Floats, Times
from edgebind.window import Windower
from tests.recordings import spec, stamps, still, windows
from tests.window.signals import MS, batched, sines


def disturbed(seed: int) -> tuple[Times, Floats]:
    """A signal with everything that can happen: jitter, batches, lost samples, a long gap, a repeated sample."""
    rng = np.random.default_rng(seed)
    rate = rng.choice([50.0, 97.0, 104.0, 233.0])
    true = stamps(900, rate) + rng.integers(0, 4 * MS, 900)
    size = int(rng.integers(1, 8))
    late = np.maximum.accumulate(np.where(rng.random(900) < 0.3, batched(900, size, rate), true))
    keep = rng.random(900) > 0.02
    keep[400 : 400 + int(rng.integers(0, 60))] = False
    late[700:] += int(rng.choice([0, 4 * NANOSECONDS]))
    samples = sines(true / NANOSECONDS)
    late[801], samples[801] = late[800], samples[800]
    return np.maximum.accumulate(late)[keep], samples[keep]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 800), max_size=40), whole=st.booleans())
def test_any_chunks_give_the_same_windows(seed: int, cuts: list[int], whole: bool) -> None:
    times, samples = disturbed(seed)
    single = [] if whole else list(range(1, len(times)))
    expected, _ = windows(spec(), times, samples, single)
    found, _ = windows(spec(), times, samples, [cut for cut in cuts if cut <= len(times)])
    assert [w.start_ns for w in found] == [w.start_ns for w in expected]
    assert all(a.samples.tobytes() == b.samples.tobytes() for a, b in zip(found, expected, strict=True))
    assert [w.quality for w in found] == [w.quality for w in expected]


def nearly_even(seed: int) -> tuple[Times, Floats]:
    """A signal whose windows are cut together where they can be: small jitter, now and then a lost or a late sample."""
    rng = np.random.default_rng(seed)
    rate = float(rng.choice([50.0, 100.0, 101.3, 250.0, 400.0]))
    count = int(8 * rate)
    jitter = rng.choice([0.0, 0.05, 0.12, 0.2]) * rng.uniform(-1, 1, count)
    slow = rng.choice([0.0, 0.0, 3e-3]) * np.arange(count) ** 2 / count
    times = 1_700_000_000_000_000_000 + np.round((np.arange(count) + jitter + slow) * NANOSECONDS / rate).astype(
        np.int64
    )
    samples = np.round(sines((times - times[0]) / NANOSECONDS) * 60, 1)  # round: flat tops here and there
    keep = rng.random(count) > rng.choice([0.0, 0.002])
    late = rng.integers(1, count, int(rng.choice([0, 2])))
    times[late] = np.maximum(times[late], times[late - 1]) + rng.integers(0, int(0.6 * NANOSECONDS / rate))
    return np.maximum.accumulate(times)[keep], samples[keep]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 300), cuts=st.lists(st.integers(0, 3200), max_size=30), size=st.sampled_from([3, 50]))
def test_windows_cut_together_are_those_cut_alone(seed: int, cuts: list[int], size: int) -> None:
    times, samples = nearly_even(seed)
    expected, _ = windows(spec(seconds=2.0, hop=0.25), times, samples, range(size, len(times), size))
    found, _ = windows(spec(seconds=2.0, hop=0.25), times, samples, [cut for cut in cuts if cut <= len(times)])
    assert [w.start_ns for w in found] == [w.start_ns for w in expected]
    assert all(a.samples.tobytes() == b.samples.tobytes() for a, b in zip(found, expected, strict=True))
    assert [w.quality for w in found] == [w.quality for w in expected]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 300), edges=st.lists(st.tuples(st.integers(0, 350), st.integers(1, 400)), min_size=1))
def test_lines_drawn_together_are_those_drawn_alone(seed: int, edges: list[tuple[int, int]]) -> None:
    times, _ = nearly_even(seed)
    firsts, lasts = (sorted(column) for column in zip(*((a, a + n) for a, n in edges), strict=True))
    stretches = [(first, min(last, len(times) - 1)) for first, last in zip(firsts, lasts, strict=True)]
    for (first, last), line in zip(stretches, clock.even_lines(times, stretches), strict=True):
        alone = clock.straighten(times[first : last + 1])
        if line is not None:
            assert alone.is_even and not len(alone.gaps)
            assert line == clock.Line(float(alone.times[0]), alone.period)
            slope, offset = np.polyfit(np.arange(last - first + 1), times[first : last + 1] - times[first], 1)
            assert line.period == pytest.approx(slope, rel=1e-9)
            assert line.offset == pytest.approx(offset, abs=1e-6 * slope * (last - first))


def test_an_even_clock_is_never_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = windows(spec(), stamps(3000), still(3000).astype(np.float32))
    monkeypatch.delattr(Windower, "_look")
    windower = Windower(spec())
    found = windower.push(Chunk(stamps(3000), still(3000).astype(np.float32)))
    assert len(found) == len(expected) == 55
    assert all(a.samples.tobytes() == b.samples.tobytes() for a, b in zip(found, expected, strict=True))


def test_the_end_of_no_signal_is_no_window() -> None:
    assert Windower(spec()).finish() == []
