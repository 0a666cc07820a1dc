"""Video as an anchor: a sensor bound to clips of what was seen, a student taught by them; from files, shards and the command line.

A made video's frames get lighter from one to the next, at a pace of its own: who sees only its middle cannot tell how fast.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from edgebind import cli, preprocess
from edgebind.errors import OptionError, RecordingError
from edgebind.models import checkpoint, clips, imagebind
from edgebind.preprocess import videos
from edgebind.preprocess.videos import Sampling, Video
from edgebind.train import bind, nodes, recipe
from edgebind.train.data import aligned, pairs
from edgebind.train.data.pairs import PairSource, ShardSource
from edgebind.train.recipe import Data, Edge, Node, Recipe
from tests.train import worlds

BIND = """
space = "test"
seed = 0
out = "OUT/run"
dim = 16

[nodes.imu]
modality = "imu"
tower = "imu-xs"
preprocess = { kind = "imu" }
window = { rate_hz = 100.0, seconds = 2.0, hop_seconds = 1.0, channels = ["ax", "ay", "az", "gx", "gy", "gz"], units = ["m/s²", "m/s²", "m/s²", "rad/s", "rad/s", "rad/s"] }

[nodes.vision]
modality = "vision"
tower = "vision-s"
preprocess = { kind = "vision", size = 32 }
video = { clips = 2, seconds = 0.5 }
window = { rate_hz = 8.0, seconds = 0.125, hop_seconds = 0.125, channels = ["red", "green", "blue"], units = ["grey level", "grey level", "grey level"] }

[training]
steps = 3
batch = 4
learning_rate = 0.003
warmup_steps = 1

[[edges]]
ends = ["imu", "vision"]
temperature = 0.2
data = [{ reader = "table", path = "OUT/pairs.jsonl", parts = 2 }]
"""

DISTIL = """
seed = 0
out = "OUT/student"

[teacher]
checkpoint = "OUT/small.safetensors"

[student]
modality = "vision"
tower = "vision-s"
preprocess = { kind = "vision", size = 32 }
video = { clips = 2, seconds = 0.5 }

[cache]
records = 2
record = 4

[losses]
affinity = 0.0
contrast = 1.0
mse = 1.0

[training]
steps = 2
batch = 4
learning_rate = 0.003
warmup_steps = 1

[quantisation]
steps = 1
windows = 16

[[data]]
reader = "files"
path = "OUT/seen"
parts = 2
"""


def film(path: Path, pace: int, frames: int = 20) -> Path:
    """48 x 32, twenty frames a second: a bright column that moves by `pace` pixels a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(frames):
            picture = np.full((32, 48, 3), 40, np.uint8)
            picture[:, (number * pace) % 44 : (number * pace) % 44 + 4] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Eight walks: what was seen, and 2 s of motion at 100 Hz, in a table of pairs."""
    rng, lines = np.random.default_rng(0), []
    (tmp_path / "felt").mkdir()
    for at in range(8):
        film(tmp_path / f"seen/{at}.mp4", pace=at)
        np.save(tmp_path / f"felt/{at}.npy", rng.normal(at, 1, (6, 200)).astype(np.float32))
        lines.append(json.dumps({"imu": f"felt/{at}.npy", "vision": f"seen/{at}.mp4"}))
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def plan(folder: Path, text: str = BIND) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text.replace("OUT", str(folder)))
    return recipe.read(path)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with ImageBind's vision tower, with one block of 16."""
    torch.manual_seed(0)
    size = replace(imagebind.ARCHITECTURES["vision"], width=16, depth=1, heads=2)
    monkeypatch.setitem(imagebind.ARCHITECTURES, "vision", size)
    path = tmp_path / "small.safetensors"
    checkpoint.save_towers(path, {"vision": worlds.enliven(imagebind.build_tower("vision")).eval()}, licence=None)
    return path


def by_hand(tower: imagebind.Tower, path: Path, how: Sampling) -> NDArray[np.float32]:
    """Prepare each frame, pair them, average the clips' vectors."""
    prepare = preprocess.for_imagebind("vision")
    pairs_ = [np.stack([prepare(frame) for frame in clip], axis=1) for clip in Video(path).read(how)]
    with torch.no_grad():
        mean = tower(torch.from_numpy(np.stack(pairs_))).numpy().mean(axis=0)
    found: NDArray[np.float32] = mean / np.linalg.norm(mean)
    return found


def test_imagebinds_tower_is_an_anchor_of_clips(world: Path, small: Path) -> None:
    text = BIND.replace('"vision-s"', f'"imagebind"\ncheckpoint = "{small}"\nfrozen = true').replace(
        "dim = 16", "dim = 1024"
    )
    made = plan(world, text.replace('preprocess = { kind = "vision", size = 32 }\n', ""))
    towers = nodes.open_nodes(made)
    source = PairSource(made.edges[0], towers["imu"], towers["vision"], None)
    drawn = source.everything()
    assert drawn is not None
    assert drawn.right.shape == (8, 2, 3, 2, 224, 224)
    module = towers["vision"].module
    assert isinstance(module, imagebind.Tower)
    with torch.no_grad():
        rows = clips.embed(module.eval(), drawn.right).numpy()
    for at in range(8):
        expected = by_hand(module, world / f"seen/{at}.mp4", made.nodes["vision"].video)
        np.testing.assert_allclose(rows[at], expected, atol=1e-5)
    report = bind.bind(made)
    assert report["held_out"]["imu-vision"]["pairs"] == 8


def test_a_video_alone_is_one_clip_of_two_frames(world: Path) -> None:
    node = Node("vision", "vision-s")
    clip = pairs.read(Data("table", str(world / "pairs.jsonl")), Node("imu", "imu-xs"), node)[3].load[1]()
    assert clip.shape == (1, 2, 32, 48, 3)
    still = replace(node, video=videos.MIDDLE)
    assert pairs.read(Data("table", str(world / "pairs.jsonl")), Node("imu", "imu-xs"), still)[3].load[1]().ndim == 3


@pytest.mark.slow
def test_a_recipe_binds_to_video_from_the_command_line(world: Path) -> None:
    plan(world)
    found = CliRunner().invoke(cli.group, ["bind", str(world / "recipe.toml"), "--threads", "1"])
    assert found.exit_code == 0, found.output
    report = json.loads((world / "run" / "run.json").read_text())
    assert report["recipe"]["nodes"]["vision"]["video"] == {
        "clips": 2,
        "seconds": 0.5,
        "frames": 2,
        "crops": 1,
        "random": False,
    }
    assert report["held_out"]["imu-vision"]["pairs"] == 8


@pytest.mark.slow
def test_a_student_learns_from_clips_and_bears_8_bits(world: Path, small: Path) -> None:
    path = world / "distil.toml"
    path.write_text(DISTIL.replace("OUT", str(world)))
    found = CliRunner().invoke(cli.group, ["distil", str(path), "--threads", "1", "--fold", "1"])
    assert found.exit_code == 0, found.output
    report = json.loads((world / "student" / "measured.json").read_text())
    assert report["likeness"]["items"] == 4
    assert report["int8"]["after"]["windows"] == 4 * 2 * 2, "every frame of every clip by itself"


def test_videos_of_shards_are_read_as_those_of_files(world: Path) -> None:
    with tarfile.open(world / "00.tar", "w") as shard:
        for at in range(8):
            shard.add(world / f"felt/{at}.npy", f"{at:04}.imu.npy")
            shard.add(world / f"seen/{at}.mp4", f"{at:04}.vision.mp4")
    made = plan(world)
    towers = nodes.open_nodes(made)
    source = ShardSource(Data("webdataset", str(world)), towers["imu"], towers["vision"], seed=0)
    drawn = source.draw(0, 8, np.random.default_rng(0))
    for row in range(8):
        read = videos.read(world / f"seen/{int(drawn.name(row))}.mp4", made.nodes["vision"].video)
        torch.testing.assert_close(drawn.right[row], towers["vision"].prepare([read])[0])


def test_a_camera_treats_all_frames_of_a_video_alike() -> None:
    augment = {"crop": 0.5, "flip": 0.5, "gain": 0.3, "offset": 0.1, "colour": 0.2, "dead_pixels": 0.5, "cutout": 0.5}
    bend, _ = aligned.bender(Node("vision", "vision-s", augment=augment))
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    still = np.broadcast_to(frame, (2, 2, 32, 48, 3))
    seen = bend(still, np.random.default_rng(1), aligned.ALONE)
    assert seen.shape[:2] == (2, 2) and seen.shape[2] < 32
    for clip in seen:
        np.testing.assert_array_equal(clip[0], clip[1])
    assert not np.array_equal(bend(still, np.random.default_rng(2), aligned.ALONE), seen)


def test_a_picture_among_videos_stands_still() -> None:
    prepare = preprocess.build({"kind": "vision", "size": 8})
    rng = np.random.default_rng(0)
    picture, video = rng.integers(0, 256, (9, 9, 3), np.uint8), rng.integers(0, 256, (2, 2, 9, 9, 3), np.uint8)
    found = videos.inputs([picture, video], prepare)
    assert found.shape == (2, 2, 3, 2, 8, 8)
    np.testing.assert_array_equal(found[0, 1, :, 1], prepare(picture))
    np.testing.assert_array_equal(found[1, 1, :, 0], prepare(video[1, 0]))
    with pytest.raises(RecordingError, match=r"videos do not fit together .*got 1 of 2 and 2 of 2"):
        videos.inputs([video[:1], video], prepare)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("clips = 2,", "clips = 0,", "clips of a video are too few"),
        ("clips = 2,", "clip = 2,", "unknown key 'nodes.vision.video.clip'"),
        ("clips = 2,", "clips = 2, random = true,", r"a random clip of a video is one \(wanted clips = 1, got 2\)"),
        ("clips = 2,", 'clips = "two",', "key 'nodes.vision.video.clips' has the wrong type"),
        ('{ kind = "imu" }', '{ kind = "imu" }\nvideo = { clips = 3 }', "only vision reads videos"),
    ],
)
def test_a_video_that_cannot_be_is_one_clear_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        plan(tmp_path, BIND.replace(old, new))
    assert "\n" not in str(caught.value)


def test_a_broken_video_names_its_file(world: Path) -> None:
    (world / "seen/3.mp4").write_bytes(b"no video")
    made = plan(world)
    with pytest.raises(RecordingError, match=r"seen/3\.mp4: is no video, or damaged"):
        bind.bind(replace(made, edges=tuple(replace(edge) for edge in made.edges)))
    assert isinstance(made.edges[0], Edge)


def test_motion_of_another_length_names_its_item(world: Path) -> None:
    np.save(world / "felt/3.npy", np.zeros((6, 150), np.float32))
    with pytest.raises(
        RecordingError, match=r"felt/3\.npy: motion is not as long as its node's window .*\(6, 200\): 2 s at 100 Hz"
    ):
        bind.bind(plan(world))


def test_a_random_clip_and_the_sound_beside_it_are_of_the_same_seconds(tmp_path: Path) -> None:
    """4 s: the pace of the column tells the second, and so does the sample's value."""
    film(tmp_path / "a.mp4", pace=1, frames=80)
    np.save(tmp_path / "a.npy", np.arange(64000, dtype=np.float32)[None] / 16000)
    (tmp_path / "pairs.jsonl").write_text('{"audio": "a.npy", "vision": "a.mp4"}\n')
    how = Sampling(seconds=0.5, random=True)
    audio = nodes.NodeTower("audio", Node("audio", "audio-s"), torch.nn.Identity(), _longest, 1)
    vision = nodes.NodeTower("vision", Node("vision", "vision-s", video=how), torch.nn.Identity(), _columns, 1)
    source = PairSource(
        Edge(("audio", "vision"), (Data("table", str(tmp_path / "pairs.jsonl")),), 0.1), audio, vision, None
    )
    drawn = source.draw(0, 12, np.random.default_rng(0))
    starts = drawn.left[:, 0]
    assert starts.min() < 1.2 and starts.max() > 2.4, "anywhere in the four seconds"
    torch.testing.assert_close(drawn.left[:, 1] - starts, torch.full((12,), 0.5), atol=1e-3, rtol=0)
    # Frame k shows the column at k modulo 44.
    expected = torch.stack([torch.floor(starts * 20) % 44, torch.floor((starts + 0.5) * 20) % 44], dim=1)
    assert (drawn.right - expected).abs().max() <= 1
    judged = source.everything()
    assert judged is not None
    torch.testing.assert_close(judged.left, torch.tensor([[0.0, 4.0]]), atol=1e-3, rtol=0)
    assert (judged.right - torch.tensor([[35.0, 1.0]])).abs().max() <= 1, "1.75 s and 2.25 s"


def _longest(sounds: Sequence[NDArray[np.float32]]) -> torch.Tensor:
    """(sounds, 2): their first and last value."""
    return torch.tensor([[float(sound[0, 0]), float(sound[0, -1])] for sound in sounds])


def _columns(seen: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """(videos, frames): where the bright column begins."""
    lines = [[np.flatnonzero(frame[16, :, 0] > 130)[0] for frame in video[0]] for video in seen]
    return torch.tensor(lines, dtype=torch.float32)


def test_a_recipe_with_random_clips_is_the_same_run_twice(world: Path) -> None:
    made = plan(world, BIND.replace("clips = 2, seconds = 0.5", "seconds = 0.5, random = true"))
    losses = []
    for name in ("one", "other"):
        bind.bind(replace(made, out=str(world / name)))
        losses.append((world / name / "losses.jsonl").read_text())
    assert losses[0] == losses[1]
