"""SUN RGB-D and NYU-v2: rooms by depth alone, with the disparity of each picture's own camera."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.evaluate.datasets import open_dataset
from edgebind.preprocess.images import read_image
from tests.evaluate.datasets import made, trees

# --- SUN RGB-D --------------------------------------------------------------------------------------------------------

BASELINE = {"kv1": 0.075, "kv2": 0.075, "realsense": 0.095, "xtion": 0.095}
"""Metres: half the distance of projector and camera, about, of the four cameras."""


def test_only_the_benchmarks_scenes_are_judged(tmp_path: Path) -> None:
    trees.sunrgbd(tmp_path)
    (task,) = open_dataset(f"sunrgbd:{tmp_path}").classifications
    assert len(task.classes) == 19
    assert [task.classes[target] for (target,) in task.targets] == ["bedroom", "office", "kitchen"]
    assert "a depth map of a living room." in task.prompts[task.classes.index("living_room")]


def test_disparity_is_baseline_times_focal_over_depth_of_each_camera(tmp_path: Path) -> None:
    trees.sunrgbd(tmp_path)
    (task,) = open_dataset(f"sunrgbd:{tmp_path}").classifications
    judged = [view for view in trees.SUN if view[1] != "printer_room"]
    for clip, (folder, _, focal, metres) in zip(task.clips, judged, strict=True):
        disparity = BASELINE[folder.split("/")[0]] * focal / metres
        np.testing.assert_allclose(made.goes_through(clip, "depth"), disparity, rtol=1e-4)


def test_training_views_are_to_learn_from(tmp_path: Path) -> None:
    trees.sunrgbd(tmp_path)
    dataset = open_dataset(f"sunrgbd@train+test:{tmp_path}")
    (task,) = dataset.classifications
    assert [task.classes[task.targets[at][0]] for at in task.training] == ["library"]
    assert len(dataset.pairings[0].left) == 3


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("intrinsics.txt", "0 0 0", "focal length is not positive"),
        ("intrinsics.txt", "wide", "focal length is no number"),
        ("depth_bfx/a.png", None, "wanted uint16"),
    ],
)
def test_a_view_that_cannot_be_true_is_refused_when_loaded(
    file: str, content: str | None, says: str, tmp_path: Path
) -> None:
    trees.sunrgbd(tmp_path)
    path = tmp_path / "SUNRGBD/kv1/NYUdata/NYU0001" / file
    made.picture(path) if content is None else path.write_text(content)
    (task,) = open_dataset(f"sunrgbd:{tmp_path}").classifications
    with pytest.raises(RecordingError, match=says):
        task.clips[0].load()


def test_a_real_depth_picture_keeps_its_metres(shared: Path, tmp_path: Path) -> None:
    """A real 16-bit picture, rotated by three bits as SUN RGB-D stores it, as if the first Kinect had taken it."""
    trees.sunrgbd(tmp_path)
    millimetres = read_image(shared / "data/depth_rgbd/redwood_depth.png")
    view = tmp_path / "SUNRGBD/kv1/NYUdata/NYU0001"
    made.picture(view / "depth_bfx/a.png", (millimetres << 3) | (millimetres >> 13))
    (view / "intrinsics.txt").write_text("518.86 0 320 0 518.86 240 0 0 1")
    (task,) = open_dataset(f"sunrgbd:{tmp_path}").classifications
    np.testing.assert_allclose(made.array(task.clips[0]), millimetres / 1000, rtol=1e-5)
    made.goes_through(task.clips[0], "depth")


# --- NYU-v2 -----------------------------------------------------------------------------------------------------------


def test_ten_rooms_of_which_the_last_is_all_others(tmp_path: Path) -> None:
    trees.nyuv2(tmp_path)
    (task,) = open_dataset(f"nyuv2:{tmp_path}").classifications
    assert len(task.classes) == 10
    assert [task.classes[target] for (target,) in task.targets] == ["living_room", "home_office", "others"]
    assert {"a depth map of a cafe.", "a depth map of a basement."} < set(task.prompts[-1])
    assert not any("kitchen" in prompt for prompt in task.prompts[-1])
    assert task.by_nearest
    assert [len(words) for words in task.words] == [1] * 9 + [2]
    assert task.words[-1] == ("basement", "cafe")


def test_matlabs_axes_are_turned(tmp_path: Path) -> None:
    trees.nyuv2(tmp_path)
    dataset = open_dataset(f"nyuv2:{tmp_path}")
    depth = made.array(dataset.classifications[0].clips[0])
    assert depth.shape == (48, 64)
    assert depth.dtype == np.float32
    assert (depth[:, 0] == 9.5).all()
    assert (depth[:, 1:] == 2.0).all()  # the second view
    assert made.array(dataset.pairings[0].right[0]).shape == (48, 64, 3)


def test_its_training_views_come_first(tmp_path: Path) -> None:
    trees.nyuv2(tmp_path)
    (task,) = open_dataset(f"nyuv2@train+test:{tmp_path}").classifications
    assert task.training == (0, 1)
    assert [task.classes[target] for (target,) in task.targets][:2] == ["kitchen", "others"]


def test_a_file_without_its_scenes_is_refused(tmp_path: Path) -> None:
    trees.nyuv2(tmp_path)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "a") as file:
        del file["sceneTypes"]
    with pytest.raises(RecordingError, match=r"labeled\.mat: variable is missing.*sceneTypes"):
        open_dataset(f"nyuv2:{tmp_path}")


def test_a_file_of_an_interrupted_download_is_refused(tmp_path: Path) -> None:
    trees.nyuv2(tmp_path)
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RecordingError, match=r"labeled\.mat: cannot be read"):
        open_dataset(f"nyuv2:{tmp_path}")


def test_a_split_of_another_file_is_refused(tmp_path: Path) -> None:
    trees.nyuv2(tmp_path)
    shutil.move(tmp_path / "splits.mat", tmp_path / "kept.mat")
    from scipy.io import savemat

    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[6]]})
    with pytest.raises(RecordingError, match=r"splits\.mat: split does not fit \(wanted 1 to 5, got 6\)"):
        open_dataset(f"nyuv2:{tmp_path}")
