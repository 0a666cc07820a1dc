"""Videos before encoders: the mean of clips and crops, by hand; from the command line; and a cache that knows which frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgebind import cli, preprocess
from edgebind.evaluate import encoders
from edgebind.evaluate.encoders import Where
from edgebind.models import checkpoint, imagebind
from edgebind.preprocess.videos import MIDDLE, PUBLISHED, Sampling, Video
from edgebind.signals import Floats
from tests import bundles
from tests.evaluate.datasets import made, trees
from tests.train import worlds


@pytest.fixture
def tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ImageBind of two small towers in a file of its own."""
    torch.manual_seed(0)
    small = {name: replace(size, width=16, depth=1, heads=2) for name, size in imagebind.ARCHITECTURES.items()}
    monkeypatch.setattr(imagebind, "ARCHITECTURES", small)
    path = tmp_path / "small.safetensors"
    towers = {name: imagebind.build_tower(name).eval() for name in ("vision", "text")}
    worlds.enliven(towers["vision"])
    checkpoint.save_towers(path, towers, licence=None)
    return path


def by_hand(path: Path, video: Video, how: Sampling) -> Floats:
    """Resize and normalise every crop, pair its frames, average the tower's vectors."""
    module = checkpoint.load_towers(path, ["vision"])["vision"].eval()
    prepare = preprocess.for_imagebind("vision")
    clips = [np.stack([prepare(frame) for frame in clip], axis=1) for clip in video.read(how)]
    with torch.no_grad():
        rows = module(torch.from_numpy(np.stack(clips))).numpy()
    mean = rows.mean(axis=0)
    found: Floats = mean / np.linalg.norm(mean)
    return found


def test_a_video_is_five_clips_in_three_crops(tower: Path, tmp_path: Path) -> None:
    video = Video(made.video(tmp_path / "a.mp4"))
    opened = encoders.open_encoder(tower, "vision")
    assert len(video.read(PUBLISHED)) == 15
    np.testing.assert_allclose(opened.embed([video])[0], by_hand(tower, video, PUBLISHED), atol=1e-5)


def test_pictures_and_videos_may_stand_side_by_side(tower: Path, tmp_path: Path) -> None:
    video = Video(made.video(tmp_path / "a.mp4"))
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    opened = encoders.open_encoder(tower, "vision", where=Where(video=Sampling(clips=2, seconds=1.0)))
    rows = opened.embed([picture, video, picture])
    np.testing.assert_allclose(rows[0], opened.embed([picture])[0], atol=1e-5)
    np.testing.assert_allclose(rows[1], by_hand(tower, video, opened.video), atol=1e-5)
    np.testing.assert_array_equal(rows[0], rows[2])


def test_an_encoder_of_stills_sees_every_frame(tmp_path: Path) -> None:
    folder = bundles.write_watcher(tmp_path / "eye")
    video = Video(made.video(tmp_path / "a.mp4"))
    how = Sampling(clips=2, seconds=1.0)
    with encoders.open_encoder(folder, where=Where(video=how)) as opened:
        frames = [frame for clip in video.read(how) for frame in clip]
        mean = opened.embed(frames).mean(axis=0)
        np.testing.assert_allclose(opened.embed([video])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_other_frames_are_other_vectors_of_vision_alone(tower: Path, tmp_path: Path) -> None:
    still = Where(video=MIDDLE)
    one, other = (encoders.open_encoder(tower, "vision", where=where).digest for where in (Where(), still))
    assert one != other
    imu = bundles.write(tmp_path / "imu")
    assert encoders.open_encoder(imu).digest == encoders.open_encoder(imu, where=still).digest


def test_kinetics_from_the_command_line(tower: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "kinetics", tmp_path / "out"
    trees.kinetics400(root)
    command = ["evaluate", str(tower), "--on", f"kinetics400:{root}", "--task", "zero-shot", "--out", str(out)]
    command += ["--clips", "2", "--crops", "1"]
    found = CliRunner().invoke(cli.group, command)
    assert found.exit_code == 0, found.output
    assert "Kinetics-400 · zero-shot" in found.output
    assert "--clips 2 --frames 2 --crops 1: published numbers are of 5, 2 and 3" in found.output
    report = json.loads((out / "report.json").read_text())
    assert report["options"]["video"] == {"clips": 2, "seconds": 2.0, "frames": 2, "crops": 1, "random": False}
    (result,) = report["results"]
    assert result["items"] == 3
