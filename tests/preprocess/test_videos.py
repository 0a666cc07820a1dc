"""Frames of videos: frame k of the made ones has grey level 10 k, ten frames a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.preprocess.videos import read_frame
from tests.evaluate.datasets import made


def level(path: Path, second: float | None) -> int:
    """The number of the frame, as its grey level says."""
    return round(float(read_frame(path, second).mean()) / 10)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(("second", "number"), [(None, 10), (0.0, 0), (0.5, 5), (1.25, 13), (60.0, 19)])
def test_the_first_frame_at_a_moment_or_the_last(
    tmp_path: Path, suffix: str, second: float | None, number: int
) -> None:
    path = made.video(tmp_path / f"a:colon{suffix}")
    assert abs(level(path, second) - number) <= (1 if second is None else 0)
    assert read_frame(path, second).dtype == np.uint8


def test_what_is_no_video_is_one_clear_line(tmp_path: Path) -> None:
    sound = made.sound(tmp_path / "sound.wav")
    with pytest.raises(RecordingError, match=r"sound\.wav: holds no video"):
        read_frame(sound)
    noise = made.text(tmp_path / "noise.mp4", "noise" * 100)
    with pytest.raises(RecordingError, match=r"noise\.mp4: is no video, or damaged"):
        read_frame(noise)
    with pytest.raises(RecordingError, match=r"absent\.mp4: cannot be read"):
        read_frame(tmp_path / "absent.mp4")
