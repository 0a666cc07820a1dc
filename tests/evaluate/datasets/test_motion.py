"""Labelled IMU recordings in their published layouts, cut by the window of whoever is judged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Labelled
from edgebind.evaluate.datasets import open_dataset
from edgebind.signals import Window
from tests import recordings
from tests.evaluate.datasets import made

SPSW = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro", "timestamp", "label")
BOREAL = ("time", "wx", "wy", "wz", "ax", "ay", "az")


@pytest.fixture
def spsw(tmp_path: Path) -> Path:
    """4 s of sitting, then 4 s of walking, by phone and by watch of two people."""
    for name in ("s01/s01_01_sp.csv", "s01/s01_01_sw.csv", "s02/s02_01_sp.csv"):
        rows = [(0, 0, 9.81, 1, 2, 3, 1000 + 10 * at, "SEATED" if at < 400 else "WALKING") for at in range(800)]
        made.table(tmp_path / name, SPSW, rows)
    return tmp_path


def test_a_window_has_the_label_at_its_centre(spsw: Path) -> None:
    (asked,) = open_dataset(f"spsw:{spsw}").recordings
    task = asked.classification(recordings.spec(100.0, 2.0, 0.5))
    made.holds_together(task)
    # 8 s, windows of 2 s every 0.5 s: starts at 0 .. 6 s, centres at 1 .. 7 s, the label changes at 4 s.
    assert [task.classes[target] for (target,) in task.targets[:13]] == ["SEATED"] * 6 + ["WALKING"] * 7
    assert len(task.clips) == 3 * 13
    assert task.groups == ("s01",) * 26 + ("s02",) * 13
    assert task.clips[1].name == "s01/s01_01_sp.csv@1500000000"
    window = task.clips[1].load()
    assert isinstance(window, Window)
    np.testing.assert_allclose(window.samples[:, 0], [0, 0, 9.81, 1, 2, 3], atol=1e-5)


def test_another_window_makes_other_items(spsw: Path) -> None:
    (asked,) = open_dataset(f"spsw:{spsw}").recordings
    window = asked.classification(recordings.spec(200.0, 5.0, 2.5)).clips[0].load()
    assert isinstance(window, Window)
    assert window.samples.shape == (6, 1000)


@pytest.mark.parametrize(("split", "count"), [("phone", 2), ("watch", 1)])
def test_phone_and_watch_are_splits(spsw: Path, split: str, count: int) -> None:
    (asked,) = open_dataset(f"spsw@{split}:{spsw}").recordings
    assert [item.carrier for item in asked.recordings] == [split] * count


def test_a_terrain_is_its_folder_and_columns_are_put_in_order(tmp_path: Path) -> None:
    made.table(tmp_path / "ICE" / "imu_07.csv", BOREAL, [(at / 100, 0.1, 0.2, 0.3, 4, 5, 6) for at in range(300)])
    (asked,) = open_dataset(f"borealtc:{tmp_path}").recordings
    (item,) = asked.recordings
    assert (item.group, item.carrier) == ("ICE/imu_07", "robot")
    np.testing.assert_allclose(item.samples[0], [4, 5, 6, 0.1, 0.2, 0.3], rtol=1e-6)
    assert [label for _, label in item.windows(recordings.spec(100.0, 1.0, 1.0))] == ["ICE"] * 3


@pytest.fixture
def hapt(tmp_path: Path) -> Path:
    (tmp_path / "acc_exp07_user04.txt").write_text("1.0 0.0 0.5\n" * 500)
    with gzip.open(tmp_path / "gyro_exp07_user04.txt.gz", "wt") as stream:
        stream.write("0.1 0.2 0.3\n" * 500)
    (tmp_path / "labels.txt").write_text("7 4 4 1 250\n7 4 8 251 300\n7 4 1 301 500\n8 4 1 1 99\n7 4 6 400 401\n")
    return tmp_path


def test_hapt_is_brought_to_si_units_and_its_ranges_count_from_one(hapt: Path) -> None:
    (asked,) = open_dataset(f"hapt@transitions:{hapt}").recordings
    (item,) = asked.recordings
    np.testing.assert_allclose(item.samples[0], [9.80665, 0, 4.903325, 0.1, 0.2, 0.3], rtol=1e-6)
    assert item.times[-1] == 499 * 20_000_000
    assert item.labels[[0, 249, 250, 299, 300, 499]].tolist() == ["SEATED"] * 2 + ["STANDING_UP"] * 2 + ["WALKING"] * 2
    assert item.labels[[399, 400]].tolist() == ["", ""]
    assert asked.classes == ("SEATED", "STANDING_UP", "WALKING", "SITTING_DOWN")


def test_two_sensors_of_unequal_length_are_one_clear_line(hapt: Path) -> None:
    (hapt / "gyro_exp07_user04.txt").write_text("0.1 0.2 0.3\n" * 499)
    with pytest.raises(RecordingError, match="two sensors of unequal length"):
        open_dataset(f"hapt:{hapt}")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "x_acc\n" + "1,2,3,4,5,6,soon,SEATED\n", "x\n1,2\n"])
def test_a_table_that_is_none_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "s01").mkdir()
    (tmp_path / "s01" / "s01_01_sp.csv").write_text(text)
    with pytest.raises(RecordingError, match="s01_01_sp") as caught:
        open_dataset(f"spsw:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_the_label_of_a_time_is_that_of_the_nearest_sample() -> None:
    item = Labelled("a", "a", "phone", np.array([0, 10, 20]), np.zeros((3, 6), np.float32), np.array(["x", "y", "z"]))
    assert [item.label_at(time) for time in (-5, 0, 4, 6, 14, 16, 99)] == ["x", "x", "x", "y", "y", "z", "z"]
