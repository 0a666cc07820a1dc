"""Who may teach: towers, bundles and ImageBind, each seeing what it is used to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgebind import bundle, starter
from edgebind.errors import BundleError, CheckpointError, OptionError
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.models import checkpoint, imagebind, students, tower_file
from edgebind.train import distil
from edgebind.train.cost import cost_of
from edgebind.train.distil_recipe import Cache, DistilRecipe, Teacher
from edgebind.train.recipe import Data, Node, Training
from edgebind.train.stage import open_stage
from edgebind.train.teacher import open_teacher
from tests.train import movements, worlds

CPU = torch.device("cpu")


@pytest.fixture
def plan(tmp_path: Path) -> DistilRecipe:
    """The starter's thermal bundle teaches a smaller tower about pictures without a label."""
    worlds.write(tmp_path / "world", 24)
    square = {"kind": "thermal", "size": 32, "resize": "squash", "normalise": "standard"}
    return DistilRecipe(
        seed=1,
        out=str(tmp_path / "run"),
        teacher=Teacher(str(starter.folder("thermal", "fp32"))),
        student=Node("thermal", "thermal-xs", preprocess=square, augment={"flip": 0.5}),
        cache=Cache(records=4, record=8, shard=2),
        training=Training(steps=4, batch=16, learning_rate=0.003, warmup_steps=1),
        data=(Data("files", str(tmp_path / "world" / "ir"), parts=2),),
    )


def test_a_bundle_teaches(plan: DistilRecipe) -> None:
    report = distil.distil(plan)
    opened = bundle.load(starter.folder("thermal", "fp32"))
    _, info, bank = tower_file.read(Path(plan.out) / "tower.safetensors")
    assert (info.space, info.dim) == ("starter", opened.manifest.dim)
    assert info.logit_scale == opened.manifest.logit_scale
    assert bank.prompts == opened.labels.prompts
    assert report["likeness"]["items"] == 24
    assert report["cost"]["teacher"]["macs"] > report["cost"]["student"]["macs"] > 1e5
    assert report["cost"]["teacher"]["parameters"] > report["cost"]["student"]["parameters"]


def test_each_side_preprocesses_for_itself(plan: DistilRecipe) -> None:
    stage = open_stage(plan, None, CPU, None)
    items = stage.draw(3, np.random.default_rng(0)).items
    assert stage.student_inputs(items).shape == (3, 1, 32, 32)
    opened = bundle.load(starter.folder("thermal", "fp32"))
    np.testing.assert_array_equal(stage.teacher_inputs(items).numpy(), opened.prepare(items))
    np.testing.assert_allclose(stage.teacher_rows(items), opened.embed(items), atol=1e-6)


def test_half_the_precision_is_nearly_the_same(plan: DistilRecipe, tmp_path: Path) -> None:
    distil.distil(plan)
    tower = Teacher(str(tmp_path / "run" / "tower.safetensors"))
    exact, half = (
        open_stage(replace(plan, teacher=replace(tower, precision=name)), None, CPU, None) for name in ("fp32", "bf16")
    )
    items = exact.draw(8, np.random.default_rng(0)).items
    one, other = exact.teacher_rows(items), half.teacher_rows(items)
    assert not np.array_equal(one, other)
    assert np.einsum("ij,ij->i", one, other).min() > 0.99


@pytest.mark.slow
def test_imagebind_teaches_a_student_with_a_shorter_and_slower_window(tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint.save_towers(tmp_path / "huge.safetensors", {"imu": imagebind.build_tower("imu").eval()})
    movements.write_recordings(tmp_path / "walks", 2)
    channels, units = ["ax", "ay", "az", "gx", "gy", "gz"], ["m/s²"] * 3 + ["rad/s"] * 3
    window = {"rate_hz": 100.0, "seconds": 2.0, "hop_seconds": 0.5, "channels": channels, "units": units}
    plan = DistilRecipe(
        seed=1,
        out=str(tmp_path / "run"),
        teacher=Teacher(str(tmp_path / "huge.safetensors")),
        student=Node("imu", "imu-xs", window=window, preprocess={"kind": "imu"}),
        cache=Cache(records=2, record=4),
        training=Training(steps=2, batch=4, learning_rate=0.003, warmup_steps=1),
        data=(Data("recordings", str(tmp_path / "walks")),),
    )
    report = distil.distil(plan)
    _, info, bank = tower_file.read(tmp_path / "run" / "tower.safetensors")
    assert (info.space, info.dim, info.window.length, len(bank)) == ("imagebind", 1024, 200, 0)
    assert report["cost"]["fewer"]["macs"] > 100
    assert report["teacher"]["of"] == "nothing was held out"
    stage = open_stage(plan, None, CPU, None)
    items = stage.draw(2, np.random.default_rng(0)).items
    assert items[0].shape == (6, 2000)
    assert stage.teacher_inputs(items).shape == (2, 6, 2000)
    assert stage.student_inputs(items).shape == (2, 6, 200)


def test_the_cost_of_attention_is_counted() -> None:
    tower = imagebind.build_tower("imu").eval()
    tokens, dim, depth = (
        251,
        512,
        6,
    )  # 250 patches of 8 samples of 6 channels and a class token; one more key when attending
    products = 4 * dim * dim + 2 * 4 * dim * dim  # query, key, value and output; the MLP there and back
    attention = 2 * tokens * (tokens + 1) * dim
    unread = (tokens - 1) * (2 * (tokens + 1) * dim + 9 * dim * dim)  # the last block passes one token on
    expected = 250 * 48 * dim + depth * (tokens * products + attention) - unread + dim * 1024
    assert cost_of(tower, torch.zeros(1, 6, 2000)).macs == expected


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere.pth", OptionError, "there is no such teacher"),
        ("unfinished", OptionError, "this folder is no teacher .*; edgebind bind writes run.json when it has finished"),
        ("broken.safetensors", CheckpointError, "broken.safetensors"),
        ("broken", BundleError, "broken"),
    ],
)
def test_a_teacher_that_cannot_be_read_is_one_clear_line(
    tmp_path: Path, name: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    for folder in ("broken", "unfinished"):
        (tmp_path / folder).mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{}")
    with pytest.raises(error, match=message) as caught:
        open_teacher(Teacher(str(tmp_path / name)), "imu", None)
    assert "\n" not in str(caught.value)


def test_a_teacher_of_another_modality_is_one_clear_line() -> None:
    with pytest.raises(OptionError, match=r"speaks for another modality .*wanted imu, got thermal"):
        open_teacher(Teacher(str(starter.folder("thermal", "fp32"))), "imu", None)


def test_a_teacher_with_finer_eyes_is_shown_what_it_can_see(tmp_path: Path) -> None:
    """96 pixels a side for the teacher: a frame of 200 is not averaged to the 64 that are enough for the student."""
    worlds.write(tmp_path / "world", 2)
    frame = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(frame).save(tmp_path / "world" / "vi" / "0000.png")
    window = WindowSpec.of_imagebind("vision")
    sees = {"kind": "vision", "size": 96}
    info = tower_file.TowerInfo("test", "vision", "vision-s", 16, 10.0, window, sees, {})
    tower_file.write(tmp_path / "t.safetensors", students.build("vision-s", dim=16), info, LabelBank.empty(16))
    recipe = DistilRecipe(
        seed=1,
        out=str(tmp_path / "run"),
        teacher=Teacher(str(tmp_path / "t.safetensors")),
        student=Node("vision", "vision-s", preprocess={"kind": "vision", "size": 32}, augment={"flip": 0.5}),
        cache=Cache(records=1, record=2),
        training=Training(steps=1, batch=2, learning_rate=0.1),
        data=(Data("files", str(tmp_path / "world" / "vi")),),
    )
    stage = open_stage(recipe, None, CPU, None)
    drawn = stage.draw(2, np.random.default_rng(0))
    (large,) = [item for item in drawn.items if item.shape[0] > 32]
    np.testing.assert_array_equal(np.sort(large, axis=None), np.sort(frame, axis=None))
    stage.cache.fill(stage.draw, stage.teacher_rows)
    finer = replace(recipe, student=replace(recipe.student, preprocess={"kind": "vision", "size": 128}))
    with pytest.raises(OptionError, match="the cache was made with another way of drawing"):
        _ = open_stage(finer, None, CPU, None).cache


def test_sounds_of_two_rates_are_one_clear_line(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 32000), np.float32))
    info = tower_file.TowerInfo(
        "test", "audio", "audio-s", 16, 10.0, WindowSpec.of_imagebind("audio"), {"kind": "audio", "clips": 1}, {}
    )
    tower_file.write(tmp_path / "t.safetensors", students.build("audio-s", dim=16), info, LabelBank.empty(16))
    recipe = DistilRecipe(
        seed=1,
        out=str(tmp_path / "run"),
        teacher=Teacher(str(tmp_path / "t.safetensors")),
        student=Node("audio", "audio-s", preprocess={"kind": "audio", "rate_hz": 8000}),
        cache=Cache(records=1, record=2),
        training=Training(steps=1, batch=2, learning_rate=0.1),
        data=(Data("files", str(tmp_path)),),
    )
    with pytest.raises(OptionError, match=r"student and teacher hear at other rates \(wanted 16000 Hz, got 8000 Hz\)"):
        open_stage(recipe, None, CPU, None)
