"""Files of clips that were cut out of YouTube videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebind.evaluate.datasets.downloads import SOUND, VIDEO, Downloads, readable
from tests.evaluate.datasets import made

NAMES = (
    "-aB_c9dEfGh",
    "Y-aB_c9dEfGh",
    "-aB_c9dEfGh_30",
    "-aB_c9dEfGh_30_40",
    "-aB_c9dEfGh_000030",
    "-aB_c9dEfGh_000030_000040",
    "-aB_c9dEfGh_30000",
    "-aB_c9dEfGh_30000_40000",
    "-aB_c9dEfGh_30.000_40.000",
)


@pytest.mark.parametrize("name", NAMES)
def test_every_usual_name_is_found(name: str, tmp_path: Path) -> None:
    path = made.text(tmp_path / "deep" / "down" / f"{name}.wav", "x")
    made.text(tmp_path / "deep" / "-aB_c9dEfGh_31.wav", "another clip of the same video")
    assert Downloads(tmp_path, SOUND).of("-aB_c9dEfGh", 30.0, 40.0) == path


def test_another_clip_of_the_video_is_not_taken_for_it(tmp_path: Path) -> None:
    made.text(tmp_path / "-aB_c9dEfGh_000031_000041.mp4", "x")
    path = Downloads(tmp_path, VIDEO).of("-aB_c9dEfGh", 30.0, 40.0)
    assert not path.exists()
    assert path.name == "-aB_c9dEfGh_000030_000040.*"


def test_sound_is_preferred_to_video_where_both_are_there(tmp_path: Path) -> None:
    for suffix in (".mp4", ".wav", ".flac", ".txt"):
        made.text(tmp_path / f"abc{suffix}", "x")
    assert Downloads(tmp_path, SOUND).named("abc").suffix == ".wav"
    assert Downloads(tmp_path, VIDEO).named("abc").suffix == ".mp4"


def test_what_cannot_be_opened_or_lacks_the_stream_is_not_readable(tmp_path: Path) -> None:
    whole = made.video(tmp_path / "whole.mp4")
    mute = made.video(tmp_path / "mute.mp4", hertz=None)
    # An interrupted download: MP4 keeps its index at the end.
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    sound = made.sound(tmp_path / "sound.wav")
    bare = tmp_path / "bare.wav"
    bare.write_bytes(sound.read_bytes()[:44])
    paths = [whole, mute, cut, sound, bare, tmp_path / "absent.mp4"]
    assert readable(paths, "audio") == [True, False, False, True, False, False]
    assert readable(paths, "video") == [True, True, False, False, False, False]
