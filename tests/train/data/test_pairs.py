"""Pairs of two sensors: three layouts read alike, both cameras keep looking at the same part, shards go on where they stood."""

from __future__ import annotations

import io
import json
import tarfile
import wave as wavefile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from edgebind.errors import OptionError, RecordingError
from edgebind.train.data import aligned, pairs, samples
from edgebind.train.data.pairs import PairSource, ShardSource
from edgebind.train.data.shards import Shards
from edgebind.train.nodes import NodeTower, stacked
from edgebind.train.recipe import Data, Edge, Node
from tests.train import worlds

THERMAL = Node("thermal", "thermal-xs")
VISION = Node("vision", "vision-s")
TEXT = Node("text", "sentences", frozen=True)


def as_it_is(modality: str, node: Node) -> NodeTower:
    """A node whose inputs are the samples themselves."""
    return NodeTower(modality, node, nn.Identity(), stacked(np.asarray), 1)  # type: ignore[arg-type]


def _source(data: Data, fold: int | None = None, left: Node = THERMAL, right: Node = VISION) -> PairSource:
    edge = Edge((left.modality, right.modality), (data,), temperature=0.1)
    return PairSource(edge, as_it_is(left.modality, left), as_it_is(right.modality, right), fold)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return worlds.write(tmp_path, 8)


def _folders(table: Path) -> Data:
    return Data("folders", str(table.parent), folders=("ir", "vi"))


def test_folders_and_tables_give_the_same_pairs(table: Path) -> None:
    one, other = (_source(data).everything() for data in (_folders(table), Data("table", str(table))))
    assert one is not None and other is not None
    assert one.left.shape == (8, 32, 32)
    assert one.right.shape == (8, 32, 32, 3)
    torch.testing.assert_close(one.left, other.left)
    torch.testing.assert_close(one.right, other.right)
    assert one.kinds.tolist() == list(range(8))
    assert one.name(3) == "0003"


def test_a_chunk_depends_on_its_chance_alone(table: Path) -> None:
    source = _source(_folders(table))
    first = source.draw(0, 4, np.random.default_rng(3))
    source.draw(0, 2, np.random.default_rng(8))
    again = source.draw(0, 4, np.random.default_rng(3))
    torch.testing.assert_close(first.left, again.left)
    assert len(set(first.kinds.tolist())) == 4, "no pair twice while there are others"


def test_parts_hold_out_neighbours_together(table: Path) -> None:
    data = replace(_folders(table), parts=4)
    held = [_source(data, fold).held_out() for fold in range(4)]
    names = [[one.name(row) for row in range(len(one.kinds))] for one in held if one is not None]
    assert names == [["0000", "0001"], ["0002", "0003"], ["0004", "0005"], ["0006", "0007"]]
    learned = {_source(data, 1).draw(0, 6, np.random.default_rng(0)).name(row) for row in range(6)}
    assert learned == {"0000", "0001", "0004", "0005", "0006", "0007"}


def test_groups_are_held_out_together(table: Path) -> None:
    held = _source(Data("table", str(table), folds=(("g1", "g3"),)), 0).held_out()
    assert held is not None
    assert [int(held.name(row).split()[0]) - 1 for row in range(len(held.kinds))] == [1, 3, 5, 7]


def test_both_cameras_look_at_the_same_part(table: Path) -> None:
    # Both see the same picture; whatever is cut and mirrored, they must still see the same.
    how = {"crop": 0.6, "flip": 0.5}
    left, right = replace(THERMAL, augment=how), replace(VISION, augment=how)
    ends = pairs._Ends(as_it_is("thermal", left), as_it_is("vision", right))
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (40, 60), dtype=np.uint8)
    shapes, mirrored = set(), 0
    for _ in range(30):
        one, other = ends.bent((picture, np.repeat(picture[..., None], 3, axis=2)), rng)
        np.testing.assert_array_equal(one, other[..., 0])
        shapes.add(one.shape)
        mirrored += not any(np.array_equal(one[0], row[at : at + one.shape[1]]) for row in picture for at in range(60))
    assert len(shapes) > 10
    assert 5 < mirrored < 25


def test_photometry_is_each_camera_s_own(table: Path) -> None:
    bright = replace(THERMAL, augment={"gain": 0.3, "offset": 0.2, "noise": 0.05, "dead_pixels": 1.0})
    bend, shape = aligned.bender(bright)
    frame = np.random.default_rng(0).integers(60, 190, (30, 30), dtype=np.uint8)
    seen = bend(frame, np.random.default_rng(1), aligned.ALONE)
    assert seen.dtype == np.uint8 and seen.shape == frame.shape
    assert shape is not None and 0.5 < abs(np.corrcoef(seen.ravel(), frame.ravel())[0, 1]) < 0.99


def test_an_imu_is_turned_and_keeps_its_strength(table: Path) -> None:
    quiet = {"gain": [0.0, 0, 0], "acceleration_noise": 0.0, "rotation_noise": 0.0, "lost": 0.0}
    quiet |= {"acceleration_bias": 0.0, "rotation_bias": 0.0}
    bend, _ = aligned.bender(Node("imu", "imu-s", augment={**quiet, "rotation_deg": [90.0, 0, 0]}))
    window = np.random.default_rng(0).normal(size=(6, 200)).astype(np.float32)
    window[2] += 9.81
    moved = bend(window, np.random.default_rng(2), aligned.ALONE)
    turned = np.linalg.norm(moved[3:], axis=0)
    np.testing.assert_allclose(turned, np.linalg.norm(window[3:], axis=0), rtol=1e-4)
    assert not np.allclose(moved[3:], window[3:], atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folders": ("ir",)}, "two folders are wanted"),
        ({"folders": ("ir", "nowhere")}, "no such folder"),
        ({"folders": ("ir", "vi"), "path": "/nowhere"}, "no such folder"),
        ({"reader": "coco"}, "unknown reader"),
        ({"folds": (("g9",),)}, "a held-out group is not in the data"),
    ],
)
def test_folders_that_are_none_are_one_clear_line(table: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises((OptionError, RecordingError), match=message) as caught:
        _source(replace(_folders(table), **change), 0)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "is no JSON"), ("[]", "no 'thermal' in a row"), ('{"thermal": "a.png"}', "no 'vision' in a row")],
)
def test_a_table_that_is_none_is_one_clear_line(table: Path, line: str, message: str) -> None:
    table.write_text(table.read_text() + line + "\n")
    with pytest.raises(RecordingError, match=rf"line 9: {message}"):
        _source(Data("table", str(table)))


def test_a_table_that_is_no_text_is_one_clear_line(table: Path) -> None:
    table.write_bytes(b"\xff\xfe")
    with pytest.raises(RecordingError, match="is no text in UTF-8"):
        _source(Data("table", str(table)))


def test_a_picture_that_is_none_is_named_when_it_is_read(table: Path) -> None:
    (table.parent / "ir" / "0005.png").write_bytes(b"no picture")
    with pytest.raises(RecordingError, match=r"0005\.png: is no picture"):
        _source(_folders(table)).everything()


def test_a_text_in_a_table_is_the_text(table: Path) -> None:
    loads = [pair.load[1]() for pair in pairs.read(Data("table", str(table)), THERMAL, TEXT)]
    assert loads[:2] == ["scene 0", "scene 1"]


# --- shards -----------------------------------------------------------------------------------------------------------


def _write_shards(table: Path, each: int = 4) -> Path:
    """The table's pairs as WebDataset shards, by nothing but tarfile."""
    folder = table.parent / "shards"
    folder.mkdir()
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for start in range(0, len(rows), each):
        with tarfile.open(folder / f"{start // each:05}.tar", "w") as archive:
            for at, row in enumerate(rows[start : start + each], start):
                for modality in ("thermal", "vision"):
                    data = (table.parent / row[modality]).read_bytes()
                    member = tarfile.TarInfo(f"{at:05}.{modality}.png")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return folder


def _shard_source(folder: Path) -> ShardSource:
    thermal, vision = as_it_is("thermal", THERMAL), as_it_is("vision", VISION)
    return ShardSource(Data("webdataset", str(folder)), thermal, vision, seed=5)


def test_an_epoch_of_shards_has_every_pair_once(table: Path) -> None:
    source, expected = _shard_source(_write_shards(table)), _source(_folders(table)).everything()
    assert expected is not None
    drawn = source.draw(0, 8, np.random.default_rng(0))
    order = [int(drawn.name(row)) for row in range(8)]
    assert sorted(order) == list(range(8))
    torch.testing.assert_close(drawn.left, expected.left[order])
    torch.testing.assert_close(drawn.right, expected.right[order])
    later = source.draw(8, 8, np.random.default_rng(0))
    assert [later.name(row) for row in range(8)] != [drawn.name(row) for row in range(8)], "epochs differ in order"


@pytest.mark.parametrize("first", [0, 3, 7, 8, 13, 30])
def test_shards_go_on_anywhere(table: Path, first: int) -> None:
    folder = _write_shards(table)
    through = _shard_source(folder).draw(0, first + 5, np.random.default_rng(0))
    jumped = _shard_source(folder).draw(first, 5, np.random.default_rng(0))
    assert [jumped.name(row) for row in range(5)] == [through.name(first + row) for row in range(5)]


def _cut(folder: Path) -> None:
    shard = folder / "00001.tar"
    shard.write_bytes(shard.read_bytes()[:700])


def _spoil(folder: Path) -> None:
    (folder / "00000.tar").write_bytes(b"no archive at all")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [(_cut, "00001.tar"), (_spoil, r"00000\.tar: is no tar shard"), (_empty, "there are no shards")],
)
def test_damaged_shards_are_one_clear_line(table: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = _write_shards(table)
    damage(folder)
    with pytest.raises(RecordingError, match=message):
        Shards(sorted(folder.glob("*.tar")), seed=0).take(0, 16)


def test_a_record_without_a_modality_is_one_clear_line(table: Path) -> None:
    source = ShardSource(
        Data("webdataset", str(_write_shards(table))),
        as_it_is("depth", Node("depth", "d")),
        as_it_is("vision", VISION),
        0,
    )
    with pytest.raises(RecordingError, match=r"no 'depth' in a record .*thermal\.png"):
        source.draw(0, 1, np.random.default_rng(0))


def test_a_record_is_itself_in_every_epoch(table: Path) -> None:
    """Twelve of eight records: the first four of the second epoch are some of the first's, and no others are alike."""
    drawn = _shard_source(_write_shards(table)).draw(0, 12, np.random.default_rng(0))
    names = [drawn.name(row) for row in range(12)]
    alike = [[one == other for other in names] for one in names]
    np.testing.assert_array_equal(drawn.kinds[:, None] == drawn.kinds[None], alike)


def test_records_of_one_name_in_two_shards_are_two(table: Path) -> None:
    folder = _write_shards(table)
    (folder / "00002.tar").write_bytes((folder / "00000.tar").read_bytes())
    drawn = _shard_source(folder).draw(0, 12, np.random.default_rng(0))
    assert len(set(drawn.kinds.tolist())) == 12 and len({drawn.name(row) for row in range(12)}) == 8


def test_files_that_are_no_records_are_passed_over_as_the_library_does(table: Path) -> None:
    folder = _write_shards(table)
    with tarfile.open(folder / "00000.tar", "a") as archive:
        for name in ("README", "__meta__/about.json", "._00003.thermal.png", ".DS_Store"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    source = _shard_source(folder)
    assert sorted(source.draw(0, 8, np.random.default_rng(0)).name(row) for row in range(8)) == [
        f"{at:05}" for at in range(8)
    ]
    assert len(Shards(sorted(folder.glob("*.tar")), seed=0)) == 8


def test_sounds_of_shards_are_read_as_those_of_files(tmp_path: Path) -> None:
    node = Node("audio", "audio-s", preprocess={"kind": "audio", "rate_hz": 8000})
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for at in range(3):
            wave = (8000 * np.sin(np.arange(3200) * (at + 1) / 10)).astype(np.int16)
            with closing(wavefile.open(str(tmp_path / f"{at}.wav"), "wb")) as out:
                out.setparams((1, 2, 16000, 0, "NONE", ""))
                out.writeframes(wave.tobytes())
            (tmp_path / f"{at}.txt").write_text(f"tone {at}")
            shard.add(tmp_path / f"{at}.wav", f"{at}.audio.wav")
            shard.add(tmp_path / f"{at}.txt", f"{at}.text.txt")
    source = ShardSource(Data("webdataset", str(tmp_path)), as_it_is("audio", node), _words(), seed=0)
    drawn = source.draw(0, 3, np.random.default_rng(0))
    for row in range(3):
        expected = samples.load_for(node, tmp_path / f"{drawn.name(row)}.wav")
        assert expected.shape == (1, 1600), "at the rate that the node's preprocessing wants"
        np.testing.assert_array_equal(drawn.left[row], expected)


def _words() -> NodeTower:
    return NodeTower(
        "text", TEXT, nn.Identity(), lambda texts: torch.tensor([int(text.split()[-1]) for text in texts]), 1
    )


# --- several folders --------------------------------------------------------------------------------------------------


def test_pairs_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    for seed in range(2):
        worlds.write(tmp_path / str(seed), 4, seed=seed)
    data = tuple(Data("folders", str(tmp_path / str(seed)), folders=("ir", "vi")) for seed in range(2))
    edge = Edge(("thermal", "vision"), data, temperature=0.1)
    both = PairSource(edge, as_it_is("thermal", THERMAL), as_it_is("vision", VISION), None).everything()
    alone = [_source(one).everything() for one in data]
    assert both is not None and all(one is not None for one in alone)
    torch.testing.assert_close(both.left, torch.cat([one.left for one in alone if one is not None]))


def test_more_parts_than_pairs_are_one_clear_line(table: Path) -> None:
    with pytest.raises(OptionError, match=r"fewer pairs than parts \(wanted 9, got 8\)"):
        _source(replace(_folders(table), parts=9), 0)


# --- units ------------------------------------------------------------------------------------------------------------


def test_counts_of_a_depth_camera_are_metres_from_files_and_shards(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(500, 6000, (12, 16), np.uint16)
    counts[3, 4] = 0
    Image.fromarray(counts).save(tmp_path / "0.png")
    node = Node("depth", "depth-s", units="mm")
    seen = samples.load_for(node, tmp_path / "0.png")
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, counts / 1000, rtol=1e-6)
    np.testing.assert_array_equal(samples.decode((tmp_path / "0.png").read_bytes(), "0", "png", node), seen)
    assert samples.load_for(Node("depth", "depth-s"), tmp_path / "0.png").dtype == np.uint16


@pytest.mark.parametrize(("modality", "unit"), [("depth", "inch"), ("vision", "mm")])
def test_a_unit_that_no_such_camera_has_is_one_clear_line(modality: str, unit: str) -> None:
    with pytest.raises(OptionError, match=r"units not understood|unknown unit of depth") as caught:
        Node(modality, "any", units=unit)
    assert "\n" not in str(caught.value)
