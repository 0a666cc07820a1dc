"""Data without a label: windows of recordings, files, one end of pairs; held out by group or by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind.errors import OptionError, RecordingError
from edgebind.train.data.unlabelled import UnlabelledSource, read
from edgebind.train.recipe import Data, Node
from tests.train import movements, worlds

IMU = Node(
    "imu",
    "imu-xs",
    window={
        "rate_hz": 100.0,
        "seconds": 2.0,
        "hop_seconds": 0.5,
        "channels": ["ax", "ay", "az", "gx", "gy", "gz"],
        "units": ["m/s²", "m/s²", "m/s²", "rad/s", "rad/s", "rad/s"],
    },
)
THERMAL = Node("thermal", "thermal-xs", augment={"crop": 0.5})


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    return movements.write_recordings(tmp_path / "walks", 3)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    worlds.write(tmp_path / "world", 12)
    return tmp_path / "world"


def test_recordings_are_every_window_of_each(walks: Path) -> None:
    items = read(Data("recordings", str(walks)), IMU)
    assert len(items) == 3 * 15  # 9 s: windows of 2 s, every half second
    assert {item.group for item in items} == {"walk_0.csv", "walk_1.csv", "walk_2.csv"}
    assert items[3].name == "walk_0.csv at 1.50 s"
    values = items[3].load()
    lines = (walks / "walk_0.csv").read_text().splitlines()[151:351]
    np.testing.assert_allclose(values.T, [[float(v) for v in line.split(",")[1:]] for line in lines], atol=0.02)


def test_a_recording_is_held_out_by_name(walks: Path) -> None:
    source = UnlabelledSource([Data("recordings", str(walks), folds=(("walk_1.csv",),))], IMU, 0)
    (held,) = source.held_out_samples()
    assert {held.name(row).split(" ")[0] for row in range(len(held.items))} == {"walk_1.csv"}
    drawn = source.samples(30, np.random.default_rng(0))
    assert {drawn.name(row).split(" ")[0] for row in range(30)} == {"walk_0.csv", "walk_2.csv"}
    assert len(set(drawn.kinds.tolist())) == 30


def test_parts_never_cut_a_recording(walks: Path) -> None:
    data = Data("recordings", str(walks), parts=3)
    held = [UnlabelledSource([data], IMU, fold).held_out_samples()[0] for fold in range(3)]
    assert [len(one.items) for one in held] == [15, 15, 15]


def test_files_are_the_pictures_below_a_folder(world: Path) -> None:
    source = UnlabelledSource([Data("files", str(world / "ir"), parts=4)], THERMAL, 3)
    (held,) = source.held_out_samples()
    assert [Path(held.name(row)).name for row in range(3)] == ["0009.png", "0010.png", "0011.png"]
    assert held.items[0].shape == (32, 32)
    drawn = source.samples(5, np.random.default_rng(0))
    assert {item.dtype for item in drawn.items} == {np.dtype(np.uint8)}
    assert any(item.shape != (32, 32) for item in drawn.items), "cropped, as the node asks"
    again = source.samples(5, np.random.default_rng(0))
    for one, other in zip(drawn.items, again.items, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "data", [{"reader": "table", "path": "table.jsonl"}, {"reader": "folders", "path": ".", "folders": ("ir", "vi")}]
)
def test_of_pairs_the_students_end_is_enough(world: Path, data: dict[str, Any]) -> None:
    items = read(Data(**{**data, "path": str(world / data["path"])}), THERMAL)
    assert len(items) == 12
    assert items[0].load().shape == (32, 32)


def test_groups_of_a_table_are_held_out(world: Path) -> None:
    source = UnlabelledSource([Data("table", str(world / "table.jsonl"), folds=(("g1",), ("g2", "g3")))], THERMAL, 1)
    assert len(source.held_out_samples()[0].items) == 6


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"reader": "hituav", "path": "ir"}, OptionError, r"unknown reader .*or \[\[prompts\]\]"),
        ({"reader": "files", "path": "nowhere"}, RecordingError, "no such folder"),
        ({"reader": "files", "path": "ir", "parts": 13}, OptionError, "fewer recordings than parts"),
        ({"reader": "files", "path": "ir", "folds": (("x",),)}, OptionError, "a held-out group is not in the data"),
        ({"reader": "files", "path": "ir", "folds": ((".",),)}, OptionError, "nothing is left to learn from"),
    ],
)
def test_data_that_cannot_be_is_one_clear_line(
    world: Path, data: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        UnlabelledSource([Data(**{**data, "path": str(world / data["path"])})], THERMAL, 0)
    assert "\n" not in str(caught.value)


def test_items_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    for level, name in ((50, "here"), (200, "there")):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), level, np.uint8)).save(tmp_path / name / "0.png")
    table = '{"thermal": "0.png"}\n'
    for name in ("here", "there"):
        (tmp_path / name / "table.jsonl").write_text(table)
    data = [Data("table", str(tmp_path / name / "table.jsonl")) for name in ("here", "there")]
    drawn = UnlabelledSource(data, Node("thermal", "thermal-xs"), None).samples(2, np.random.default_rng(0))
    assert {int(item[0, 0]) for item in drawn.items} == {50, 200}
