"""Videos as sources: every frame at its own time, beside a plain decoding; thinned; into vectors from the command line."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from edgebind import cli
from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import Chunk
from edgebind.sources import units
from edgebind.sources.file import open_recording
from tests import bundles
from tests.evaluate.datasets import made
from tests.preprocess.test_videos import film

SPEC = WindowSpec.of_imagebind("vision")
UNEVEN = [0, 40, 400, 433, 1900, 2000, 2033, 2900]
"""Thousandths of a second at which frames begin."""


def read(path: Path, rate: float | None = None, modality: str = "vision") -> list[Chunk]:
    with open_recording(path, modality, SPEC, rate_hz=rate) as source:
        return list(source)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_every_frame_stands_at_its_own_time(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"uneven{suffix}", UNEVEN)
    chunks = read(path)
    assert [int(chunk.times[0]) for chunk in chunks] == [1_000_000 * time for time in UNEVEN]
    with av.open(str(path)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), plain)


def test_a_rate_takes_no_more_than_so_many_a_second(tmp_path: Path) -> None:
    path = film(tmp_path / "uneven.mp4", UNEVEN)
    assert [int(chunk.times[0]) // 1_000_000 for chunk in read(path, rate=2.0)] == [0, 1900, 2000, 2900]
    assert len(read(path, rate=1000.0)) == len(UNEVEN)


def test_a_thermal_camera_may_have_filmed_and_a_depth_camera_not(tmp_path: Path) -> None:
    path = made.video(tmp_path / "night.mp4")
    assert len(read(path, modality="thermal")) == made.FRAMES
    with pytest.raises(
        RecordingError, match=r"night\.mp4: not a recording of depth .*wanted NPZ, a folder of pictures or a picture"
    ):
        read(path, modality="depth")
    with pytest.raises(OptionError, match="a video has grey levels and colours"):
        open_recording(path, "thermal", SPEC, units=units.parse("thermal=cK"))


def test_a_damaged_video_is_one_clear_line(tmp_path: Path) -> None:
    noise = made.text(tmp_path / "noise.mp4", "noise" * 100)
    with pytest.raises(RecordingError, match=r"noise\.mp4: is no video, or damaged"):
        read(noise)
    with pytest.raises(RecordingError, match=r"sound\.mp4: holds no video"):
        read(made.sound(tmp_path / "sound.wav").rename(tmp_path / "sound.mp4"))


def test_a_video_is_embedded_from_the_command_line(tmp_path: Path) -> None:
    path, out = made.video(tmp_path / "two seconds.mp4"), tmp_path / "out.npz"
    command = ["embed", "--bundle", str(bundles.write_watcher(tmp_path / "eye")), str(path), "--out", str(out)]
    for extra, starts in (([], np.arange(20) / 10), (["--rate", "2"], np.arange(4) / 2)):
        found = CliRunner().invoke(cli.group, [*command, *extra])
        assert found.exit_code == 0, found.output
        with np.load(out) as kept:
            np.testing.assert_array_equal(kept["start_ns"], np.round(starts * 1e9).astype(np.int64))
            assert kept["embeddings"].shape == (len(starts), 4)
            assert set(kept["source"]) == {str(path)}
