"""Clips of videos, against a plain decoding of every frame. The made ones count their frames in grey levels: frame k has 10 k.

seconds   0         1         2
frames    0 1 2 3 4 5 6 7 8 9 10 ...    ten a second, or wherever `times` puts them
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess import videos
from edgebind.preprocess.videos import MIDDLE, PUBLISHED, Sampling, Video
from tests.evaluate.datasets import made


def film(path: Path, times: Sequence[int], *, size: tuple[int, int] = (64, 48), key_frames: int = 12) -> Path:
    """A video whose frame k begins at `times[k]` thousandths and has level 10 k, with a key frame every `key_frames`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1000)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = key_frames
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            level = np.full((size[1], size[0], 3), 10 * number % 250, np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Begin in seconds from the first, and pixels, of every frame: a plain decoding from beginning to end."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = np.array([frame.time for frame in frames], np.float64)
        return times - times[0], np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def on_show(path: Path, seconds: Sequence[float]) -> NDArray[np.uint8]:
    """By hand: of all frames the latest that began by then."""
    times, pixels = decoded(path)
    return pixels[[np.flatnonzero(times <= second + 6e-4)[-1] for second in seconds]]


def levels(clips: NDArray[np.uint8]) -> list[list[int]]:
    """Numbers of the frames, as their grey levels say."""
    return [[round(float(frame.mean()) / 10) for frame in clip] for clip in clips]


def test_clips_lie_evenly_and_their_frames_at_both_ends() -> None:
    moments = Sampling(clips=5).moments(Fraction(0), Fraction(10))
    assert moments == [[0, 2], [2, 4], [4, 6], [6, 8], [8, 10]]
    assert Sampling().moments(Fraction(0), Fraction(10)) == [[4, 6]], "one clip lies in the middle"
    assert Sampling(clips=2, frames=3).moments(Fraction(1), Fraction(6)) == [[1, 2, 3], [4, 5, 6]]
    assert Sampling(clips=3).moments(Fraction(0), Fraction(1)) == [[0, 1]] * 3, "shorter than a clip"
    assert MIDDLE.moments(Fraction(0), Fraction(3)) == [[Fraction(3, 2)]]
    assert (PUBLISHED.clips, PUBLISHED.seconds, PUBLISHED.frames, PUBLISHED.crops) == (5, 2.0, 2, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_frames_are_those_of_a_plain_decoding(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"a:colon{suffix}", [100 * at for at in range(24)])
    found = Video(path).read(Sampling(clips=3, seconds=1.0))
    assert found.shape == (3, 2, 48, 64, 3)
    assert found.dtype == np.uint8
    # The last frame lasts a thousandth: 2.301 s, so clips begin at 0 s, 0.65 s and 1.3 s.
    assert levels(found) == [[0, 10], [6, 16], [13, 23]]
    np.testing.assert_array_equal(found.reshape(6, 48, 64, 3), decoded(path)[1][[0, 10, 6, 16, 13, 23]])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_uneven_frames_are_on_show_until_the_next_begins(tmp_path: Path, suffix: str) -> None:
    times = [0, 40, 400, 433, 1900, 2000, 2033, 2900, 3000]
    path = film(tmp_path / f"uneven{suffix}", times, key_frames=4)
    wanted = [0.2, 1.2, 0.416, 1.416, 1.0, 2.0]
    for first, last in zip(wanted[::2], wanted[1::2], strict=True):
        (clip,) = Video(path, start=first, stop=last).read(Sampling(seconds=1.0))
        np.testing.assert_array_equal(clip, on_show(path, [first, last]))
    assert levels(Video(path, start=0.2, stop=1.2).read(Sampling(seconds=1.0))) == [[1, 3]]
    assert levels(Video(path, start=1.0, stop=2.0).read(Sampling(seconds=1.0))) == [[3, 5]]


def test_far_clips_are_sought_and_near_ones_decoded_on_the_way(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mp4", [500 * at for at in range(80)], key_frames=7)  # 40 s
    found = Video(path, stop=40.0).read(Sampling(clips=4, seconds=3.0, frames=3))
    starts = [0, 37 / 3, 74 / 3, 37]
    by_hand = [on_show(path, [start, start + 1.5, start + 3.0]) for start in starts]
    np.testing.assert_array_equal(found, by_hand)


def test_a_file_that_begins_late_counts_from_its_first_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "late.mkv", [7000 + 100 * at for at in range(20)])
    assert levels(Video(path, start=0.5, stop=1.0).read(Sampling(seconds=0.5))) == [[5, 10]]


def test_a_live_recording_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "live.mkv"
    with av.open(str(path), "w", format="matroska", options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert container.duration is None and container.streams.video[0].duration is None
    assert levels(Video(path).read(Sampling(clips=2, seconds=1.0))) == [[0, 10], [10, 19]]


def test_a_short_video_is_the_same_clip_again_and_its_end_stands_still(tmp_path: Path) -> None:
    path = made.video(tmp_path / "short.mp4")  # 2 s, frames 0 to 19
    assert levels(Video(path).read(Sampling(clips=3, seconds=5.0))) == [[0, 19]] * 3
    assert levels(Video(path, start=1.5, stop=60.0).read(Sampling(seconds=100.0))) == [[15, 19]]
    single = film(tmp_path / "single.mp4", [0])
    assert levels(Video(single).read(Sampling())) == [[0, 0]]


def test_one_frame_is_a_picture(tmp_path: Path) -> None:
    path = made.video(tmp_path / "two seconds.mp4")
    picture = videos.read(path, MIDDLE)
    assert picture.shape == (48, 64, 3)
    assert levels(picture[None, None]) == [[10]]
    assert not videos.is_read(picture)
    assert videos.is_read(videos.read(path, Sampling()))


def test_three_crops_are_the_squares_along_the_long_side(tmp_path: Path) -> None:
    path = made.video(tmp_path / "wide.mp4")
    whole = Video(path).read(Sampling(clips=2, seconds=1.0))
    crops = Video(path).read(Sampling(clips=2, seconds=1.0, crops=3))
    assert crops.shape == (6, 2, 48, 48, 3)
    for clip in range(2):
        for number, left in enumerate((0, 8, 16)):
            np.testing.assert_array_equal(crops[3 * clip + number], whole[clip, :, :, left : left + 48])


def test_a_tall_video_is_cut_from_top_to_bottom(tmp_path: Path) -> None:
    path = film(tmp_path / "tall.mp4", [0, 100], size=(48, 80))
    assert Video(path).read(Sampling(crops=3)).shape == (3, 2, 48, 48, 3)


def turned(path: Path) -> Path:
    """As a phone writes it: the header's matrix asks for a quarter turn clockwise."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # version 0: times, id, duration, layer, volume before it
    data[matrix : matrix + 16] = struct.pack(">4i", 0, 1 << 16, 0, -(1 << 16))
    data[matrix + 16 : matrix + 20] = struct.pack(">i", 0)
    path.write_bytes(data)
    return path


def test_a_phones_video_stands_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:16] = 200  # what is on top here is on the right when turned clockwise
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    assert videos.read(path, MIDDLE).shape == (48, 64, 3)
    upright = videos.read(turned(path), MIDDLE)
    assert upright.shape == (64, 48, 3)
    assert upright[:, 40:].mean() > 180
    assert upright[:, :24].mean() < 20


def test_large_frames_are_averaged_by_a_whole_factor(tmp_path: Path) -> None:
    path = film(tmp_path / "large.mp4", [0, 100], size=(1200, 900))
    assert videos.read(path, MIDDLE).shape == (450, 600, 3)


def test_what_is_no_video_is_one_clear_line(tmp_path: Path) -> None:
    sound = made.sound(tmp_path / "sound.wav")
    with pytest.raises(RecordingError, match=r"sound\.wav: holds no video"):
        Video(sound).read(MIDDLE)
    noise = made.text(tmp_path / "noise.mp4", "noise" * 100)
    with pytest.raises(RecordingError, match=r"noise\.mp4: is no video, or damaged"):
        Video(noise).read(MIDDLE)
    with pytest.raises(RecordingError, match=r"absent\.mp4: cannot be read"):
        Video(tmp_path / "absent.mp4").read(MIDDLE)


def test_a_video_that_was_cut_off_ends_with_its_last_whole_frame(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mkv", [100 * at for at in range(24)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    ((first, last),) = levels(Video(cut, stop=2.4).read(Sampling(seconds=2.4)))
    assert first == 0
    assert 5 < last < 23


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ({"clips": 0}, "clips of a video are too few"),
        ({"frames": 0}, "frames of a video are too few"),
        ({"seconds": 0.0}, "a clip of a video has no length"),
        ({"crops": 2}, r"another number of crops of a video \(wanted 1 or 3, got 2\)"),
        ({"clips": 200, "frames": 2}, r"too many frames of a video \(wanted at most 256, got 200 clips of 2\)"),
    ],
)
def test_a_sampling_that_cannot_be_is_one_clear_line(sampling: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Sampling(**sampling)
