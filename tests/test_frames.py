"""Frames of a camera as windows."""

from __future__ import annotations

import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.frames import FrameWindower
from edgebind.signals import Chunk
from edgebind.window import make_windower
from tests.recordings import spec, stamps
from tests.window.signals import MS


def frames(*moments_ms: int) -> Chunk:
    pictures = np.full((len(moments_ms), 4, 5), 100, np.uint8)
    return Chunk(np.array(moments_ms, np.int64) * MS, pictures)


def test_each_frame_is_a_window() -> None:
    windower = make_windower(spec(8.0, 0.125, 0.125), "thermal")
    found = windower.push(frames(1000, 1125, 1250))
    assert [(w.start_ns, w.stop_ns) for w in found] == [(t * MS, (t + 125) * MS) for t in (1000, 1125, 1250)]
    assert found[0].samples.dtype == np.uint8
    assert windower.finish() == []


def test_frames_faster_than_the_hop_are_dropped_and_counted() -> None:
    # frames  |   |   |   |   |   |   |      30 Hz
    # taken   |           |           |      a hop of 125 ms, less a quarter because cameras are not punctual
    windower = FrameWindower(spec(8.0, 0.125, 0.125))
    found = windower.push(frames(0, 33, 67, 100, 133, 167, 200))
    assert [w.start_ns // MS for w in found] == [0, 100, 200]
    assert windower.counters.dropped == 4
    assert len(FrameWindower(spec(8.0, 0.125, 0.125), every_frame=True).push(frames(0, 33, 67))) == 3


def test_pixels_at_the_limit_count_as_saturated() -> None:
    chunk = frames(0)
    chunk.samples[0, 0, :] = 255
    (window,) = FrameWindower(spec(8.0, 0.125, 0.125)).push(chunk)
    assert window.quality.saturated == 0.25


def test_frames_whose_time_goes_backwards_are_refused() -> None:
    with pytest.raises(RecordingError, match="time goes backwards"):
        FrameWindower(spec(8.0, 0.125, 0.125)).push(frames(100, 0))


def test_a_signal_is_no_frame() -> None:
    with pytest.raises(RecordingError, match="no frames"):
        FrameWindower(spec(8.0, 0.125, 0.125)).push(Chunk(stamps(3), np.zeros((3, 6), np.float32)))
