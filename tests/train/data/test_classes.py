"""Labelled folders of any sensor: sounds bound to words, what is held out, and files that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess.videos import Sampling
from edgebind.train import bind, recipe
from edgebind.train.data import samples
from edgebind.train.recipe import Recipe

RECIPE = """
space = "test"
seed = 0
out = "OUT"

[nodes.audio]
modality = "audio"
tower = "audio-s"
preprocess = { kind = "audio", clips = 1 }
window = { rate_hz = 16000.0, seconds = 2.0, hop_seconds = 1.0, channels = ["pressure"], units = ["full scale"] }

[nodes.text]
modality = "text"
tower = "sentences"
frozen = true

[training]
steps = 4
batch = 8
learning_rate = 0.003
warmup_steps = 2

[[edges]]
ends = ["audio", "text"]
temperature = 0.1
data = [{ reader = "classes", path = "DATA", parts = 4 }]
prompts = [
  { label = "Rain", texts = ["the sound of rain"] },
  { label = "Dog_bark", texts = ["a barking dog"] },
]
questions = [{ name = "which", groups = [["Rain"], ["Dog_bark"]] }]
"""


def _encode(prompts: Sequence[str]) -> np.ndarray:
    rows = np.stack([np.random.default_rng(len(text)).normal(size=16) for text in prompts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _plan(tmp_path: Path, data: Path) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("OUT", str(tmp_path / "run")).replace("DATA", str(data)))
    return recipe.read(path)


@pytest.mark.slow
def test_sounds_are_bound_to_words(tmp_path: Path, shared: Path) -> None:
    pytest.importorskip("av")
    plan = _plan(tmp_path, shared / "data" / "audio_esc10")
    report = bind.bind(replace(plan, training=replace(plan.training, steps=25)), _encode)
    figures = report["held_out"]["audio-text"][""]["which"]
    assert figures["items"] == 8
    assert len(figures["folds"]) == 4
    assert figures["balanced_accuracy"] >= 0.75  # rain and barking: hardly to be mixed up


def test_each_class_is_held_out_in_stretches(tmp_path: Path) -> None:
    from edgebind.train.data import classes

    for label in ("Rain", "Dog_bark"):
        (tmp_path / label).mkdir()
        for at in range(6):
            np.save(tmp_path / label / f"{at}.npy", np.zeros(3))
    items = classes.read(recipe.Data("classes", str(tmp_path), parts=3))
    assert [(item.label, item.path.stem, item.part) for item in items if item.part == 1] == [
        ("Dog_bark", "2", 1),
        ("Dog_bark", "3", 1),
        ("Rain", "2", 1),
        ("Rain", "3", 1),
    ]


def test_folders_that_are_none_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such folder"):
        bind.bind(_plan(tmp_path, tmp_path / "nowhere"), _encode)
    with pytest.raises(RecordingError, match="no folder with files in it"):
        bind.bind(_plan(tmp_path, tmp_path), _encode)
    plan = _plan(tmp_path, tmp_path)
    grouped = replace(plan.edges[0].data[0], folds=(("a",),))
    with pytest.raises(OptionError, match="folders by class have no groups"):
        bind.bind(replace(plan, edges=(replace(plan.edges[0], data=(grouped,)),)), _encode)


def test_more_parts_than_files_of_a_class_are_one_clear_line(tmp_path: Path) -> None:
    for label, count in (("Rain", 4), ("Dog_bark", 3), ("Unheard", 1)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for at in range(count):
            np.save(tmp_path / "data" / label / f"{at}.npy", np.zeros((1, 16000), np.float32))
    with pytest.raises(OptionError, match=r"class 'Dog_bark' has fewer files than parts \(wanted 4, got 3\)"):
        bind.bind(_plan(tmp_path, tmp_path / "data"), _encode)


def test_a_sound_that_is_none_names_its_file(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for label in ("Rain", "Dog_bark"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.ogg").write_bytes(b"no sound")
    plan = _plan(tmp_path, tmp_path)
    data = replace(plan.edges[0].data[0], parts=0)
    with pytest.raises(RecordingError, match=r"a\.ogg"):
        bind.bind(replace(plan, edges=(replace(plan.edges[0], data=(data,)),)), _encode)


def test_a_video_is_its_middle_or_clips(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for at in range(21):
            grey = np.full((48, 64, 3), 10 * at, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    frame = samples.load(tmp_path / "clip.mp4", "vision")
    assert frame.shape == (48, 64, 3)
    assert abs(float(frame.mean()) - 100) < 15
    clips = samples.load(tmp_path / "clip.mp4", "vision", Sampling(clips=3, seconds=0.5))
    assert clips.shape == (3, 2, 48, 64, 3)
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes()[:200])
    with pytest.raises(RecordingError, match=r"broken\.mp4: is no video, or damaged"):
        samples.load(tmp_path / "broken.mp4", "vision")


def test_what_is_kept_has_an_end() -> None:
    kept, reads = samples.Kept(room=100), []

    def read() -> np.ndarray:
        reads.append(1)
        return np.zeros(80, np.uint8)

    for name in ("a", "b", "a", "b"):
        kept.load(name, read)
    assert len(reads) == 3, "the second no longer fits, and is read again"
