"""Ego4D: 5 s of motion, only where the IMU has no gap.

seconds   0         5         10        15
pieces    [--- 0 ---)[--- 1 ---)[--- 2 ---)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.evaluate.datasets import open_dataset
from edgebind.evaluate.datasets.ego4d import whole_pieces
from edgebind.preprocess.videos import Video
from tests.evaluate.datasets import made, trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.ego4d(tmp_path)
    return tmp_path


def test_videos_of_one_scenario_are_judged_among_all_scenarios(root: Path) -> None:
    dataset = open_dataset(f"ego4d:{root}")
    (task,) = dataset.classifications
    assert task.classes == ("Bike", "Cleaning / laundry", "Cooking", "Eating")
    assert [clip.name for clip in task.clips] == [
        "v2/imu/aaa.csv#0",
        "v2/imu/aaa.csv#1",
        "v2/imu/ccc.csv#0",
        "v2/imu/ccc.csv#1",
    ]
    assert task.targets == ((2,), (2,), (1,), (1,))
    assert task.groups == ("aaa", "aaa", "ccc", "ccc")
    assert "1 of 4 with IMU have none or several" in dataset.notes["protocol"]


def test_all_takes_the_videos_of_every_split(root: Path) -> None:
    (task,) = open_dataset(f"ego4d@all:{root}").classifications
    assert set(task.groups) == {"aaa", "ccc", "ddd"}
    assert task.published == ()


def test_motion_stands_on_an_even_grid_in_edgebinds_order(root: Path) -> None:
    (task,) = open_dataset(f"ego4d:{root}").classifications
    window = made.array(task.clips[1])
    assert window.shape == (6, 2000)
    assert window.dtype == np.float32
    times = 5.0 + np.arange(2000) / 400
    np.testing.assert_allclose(window[0], np.sin(times), atol=1e-5)  # accl_x
    np.testing.assert_allclose(window[2], 9.81, rtol=1e-6)  # accl_z
    np.testing.assert_allclose(window[4], times, atol=1e-5)  # gyro_y
    assert not window[[1, 3, 5]].any()


def test_a_gap_takes_its_piece_and_no_other(root: Path) -> None:
    made.table(root / "v2/imu/aaa.csv", trees.EGO4D_TITLES, trees.motion(16.0, gap=(6.0, 7.0)))
    dataset = open_dataset(f"ego4d:{root}")
    (task,) = dataset.classifications
    assert [clip.name for clip in task.clips if "aaa" in clip.name] == ["v2/imu/aaa.csv#0", "v2/imu/aaa.csv#2"]
    assert dataset.notes["clips"] == "4 of 5 s"


def test_pieces_are_counted_from_the_videos_start() -> None:
    even = np.arange(0, 15.01, 0.005)
    assert whole_pieces(even) == [0, 1, 2]
    assert whole_pieces(even[even > 0.5]) == [1, 2]
    assert whole_pieces(even[even < 14.0]) == [0, 1]
    assert whole_pieces(even[(even < 4.99) | (even > 5.01)]) == [0, 1, 2]  # 20 ms are no gap
    assert whole_pieces(even[(even < 4.9) | (even > 5.1)]) == [2]
    assert whole_pieces(np.append(even, np.nan)) == [0, 1, 2]
    assert whole_pieces(np.zeros(0)) == []


def test_the_middle_of_a_video_is_paired_with_what_was_seen_then(root: Path) -> None:
    (pairing,) = open_dataset(f"ego4d:{root}").pairings
    assert [clip.name for clip in pairing.left] == ["v2/imu/aaa.csv#1"]
    assert [clip.name for clip in pairing.right] == ["v2/full_scale/aaa.mp4#5-10"]
    assert pairing.right[0].load() == Video(root / "v2/full_scale/aaa.mp4", 5.0, 10.0)
    (root / "v2/full_scale/aaa.mp4").unlink()
    assert open_dataset(f"ego4d:{root}").pairings == ()


def test_recordings_without_a_whole_piece_are_refused(root: Path) -> None:
    for uid in ("aaa", "ccc"):
        made.table(root / "v2/imu" / f"{uid}.csv", trees.EGO4D_TITLES, trees.motion(4.0))
    with pytest.raises(RecordingError, match="no IMU recording of 5 s without gaps"):
        open_dataset(f"ego4d:{root}")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("canonical_timestamp_ms", "time", "column canonical_timestamp_ms is missing"),
        ("\n0,5.0,5.0,", "\n0,5.0,soon,", "is no table of numbers"),
    ],
)
def test_another_table_is_one_clear_line(root: Path, old: str, new: str, says: str) -> None:
    table = root / "v2/imu/ccc.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new))
    with pytest.raises(RecordingError) as caught:
        open_dataset(f"ego4d:{root}")
    assert str(table) in str(caught.value) and says in str(caught.value)
