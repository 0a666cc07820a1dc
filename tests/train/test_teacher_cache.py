"""The cache of a teacher's vectors: asked once, drawn again from seeds, whole shards or none, nobody else's vectors."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebind.errors import OptionError, RecordingError
from edgebind.train import identity, teacher_cache
from edgebind.train.data.task import Samples
from edgebind.train.distil_recipe import Cache
from edgebind.train.recipe import Data
from edgebind.train.teacher_cache import TeacherCache

HOW = Cache(records=10, record=4, shard=3)
DIM = 6


def draw(size: int, rng: np.random.Generator) -> Samples:
    items = list(rng.normal(size=(size, DIM)))
    return Samples(items, rng.integers(0, 9, size), lambda row: f"item {row}")


class Teacher:
    """Says the direction of an item, and counts how often it is asked."""

    def __init__(self, *, tires_after: int = 10**9) -> None:
        self.asked = 0
        self._tires_after = tires_after

    def __call__(self, items: Sequence[Any]) -> np.ndarray:
        self.asked += len(items)
        if self.asked > self._tires_after:
            raise KeyboardInterrupt
        rows = np.stack(items).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _cache(folder: Path, how: Cache = HOW, **identity: Any) -> TeacherCache:
    return TeacherCache(folder, how, seed=7, identity={"teacher": "one", **identity})


def test_every_record_is_drawn_again_from_its_seed(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    cache.fill(draw, Teacher())
    reader = cache.open()
    seen = set()
    for remembered in reader.take(0, HOW.records):
        items = remembered.draw(draw).items
        np.testing.assert_allclose(remembered.vectors, Teacher()(items), atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(remembered.vectors, axis=1), 1, atol=1e-6)
        seen.add(remembered.seed)
    assert seen == {(7, k) for k in range(HOW.records)}, "an epoch goes once through all of them"


def test_an_epoch_has_an_order_of_its_own_and_a_step_the_same_records_always(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    cache.fill(draw, Teacher())
    first = [one.seed for one in cache.open().take(0, 30)]
    assert first[:10] != first[10:20]
    assert sorted(first[:10]) == sorted(first[10:20]) == sorted(first[20:])
    assert [one.seed for one in cache.open().take(17, 4)] == first[17:21], "whoever begins in the middle reads the same"


def test_the_teacher_is_never_asked_twice(tmp_path: Path) -> None:
    teacher = Teacher()
    for _ in range(2):
        _cache(tmp_path).fill(draw, teacher)
    assert teacher.asked == HOW.records * HOW.record


def test_the_shards_are_webdatasets(tmp_path: Path) -> None:
    _cache(tmp_path).fill(draw, Teacher())
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == [f"vectors-0000{at}.tar" for at in range(4)]
    with tarfile.open(tmp_path / "vectors-00003.tar") as archive:
        assert archive.getnames() == ["00000009.json", "00000009.npy"]
        note = archive.extractfile("00000009.json")
        assert note is not None
        assert json.load(note) == {"seed": [7, 9], "items": 4}
        rows = archive.extractfile("00000009.npy")
        assert rows is not None
        (tmp_path / "rows.npy").write_bytes(rows.read())
    stored = np.load(tmp_path / "rows.npy")
    assert stored.dtype == np.float16
    assert stored.shape == (4, DIM)


def test_an_interrupted_cache_goes_on_at_the_last_whole_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_cache, "TOGETHER", HOW.record)
    whole = _cache(tmp_path / "whole")
    whole.fill(draw, Teacher())
    stopped = _cache(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.fill(draw, Teacher(tires_after=5 * HOW.record))
    assert [path.name for path in sorted(stopped.folder.glob("*.tar"))] == ["vectors-00000.tar"]
    left_over, of_another_run = (stopped.folder / f".vectors-00001.tar.{name}.tar" for name in ("old", "new"))
    for half in (left_over, of_another_run):
        half.write_bytes(b"half of a shard")
    os.utime(left_over, (0, 0))
    teacher = Teacher()
    _cache(tmp_path / "stopped").fill(draw, teacher)
    assert teacher.asked == 7 * HOW.record, "three of ten records were there"
    for one, other in zip(whole.paths, stopped.paths, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert list(stopped.folder.glob(".*")) == [of_another_run]


def test_progress_tells_records_and_embeddings_a_second(tmp_path: Path) -> None:
    told: list[tuple[int, int, float]] = []
    _cache(tmp_path).fill(draw, Teacher(), lambda done, of, rate: told.append((done, of, rate)))
    assert [done for done, _, _ in told] == list(range(1, 11))
    assert {of for _, of, _ in told} == {10}
    assert all(rate > 0 for _, _, rate in told)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"identity": {"teacher": "two"}}, "another teacher"),
        ({"how": replace(HOW, records=11)}, "another records"),
        ({"how": replace(HOW, record=2)}, "another items a record"),
        ({"identity": {"data": "other"}}, "another data"),
    ],
)
def test_vectors_of_something_else_are_refused_in_one_line(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    _cache(tmp_path, data="some").fill(draw, Teacher())
    with pytest.raises(OptionError, match=f"the cache was made with {named}") as caught:
        _cache(tmp_path, change.get("how", HOW), **{"data": "some", **change.get("identity", {})})
    assert "\n" not in str(caught.value)
    assert "remove that folder, or name another cache.path" in str(caught.value)


def test_a_vector_that_is_no_number_names_its_item(tmp_path: Path) -> None:
    def confused(items: Sequence[Any]) -> np.ndarray:
        rows = Teacher()(items)
        rows[2] = np.nan
        return rows

    with pytest.raises(RecordingError, match="item 2: the teacher's vector is no number"):
        _cache(tmp_path).fill(draw, confused)
    assert not list(tmp_path.glob("*.tar"))


def test_a_file_that_was_never_a_cache_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(OptionError, match="the cache cannot be read"):
        _cache(tmp_path)


def test_data_is_known_by_its_files_and_by_what_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n")
    data = Data("recordings", str(tmp_path), folds=(("a.csv",),))
    everything = identity.of_data([data], None)
    assert everything == identity.of_data([data], None)
    assert everything != identity.of_data([data], 0)
    (tmp_path / "b.csv").write_text("3,4\n")
    assert everything != identity.of_data([data], None)


def test_data_of_the_same_length_and_other_values_is_other_data(tmp_path: Path) -> None:
    """Motion in g that becomes motion in m/s² is as many bytes as before."""
    np.save(tmp_path / "a.npy", np.ones((6, 20), np.float32))
    data = Data("files", str(tmp_path))
    before = identity.of_data([data], None)
    np.save(tmp_path / "a.npy", np.full((6, 20), 9.81, np.float32))
    assert identity.of_data([data], None) != before


def test_a_table_is_known_by_its_rows_and_by_what_they_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    (tmp_path / "table.jsonl").write_text('{"thermal": "a.jpg", "text": "b.jpg"}\n')
    data = Data("table", str(tmp_path / "table.jsonl"))
    first = identity.of_data([data], None)
    (tmp_path / "a.jpg").write_bytes(b"another picture")
    second = identity.of_data([data], None)
    (tmp_path / "table.jsonl").write_text('{"thermal": "b.jpg", "text": "b.jpg"}\n')
    assert len({str(one) for one in (first, second, identity.of_data([data], None))}) == 3


def test_a_table_may_say_more_than_files_in_a_row(tmp_path: Path) -> None:
    """Numbers, lists and long captions are of no sensor; rows that are no pairs are the reader's to refuse, lines that are no JSON too."""
    table, data = tmp_path / "table.jsonl", Data("table", str(tmp_path / "table.jsonl"))
    (tmp_path / "a.jpg").write_bytes(b"a")
    row = {"thermal": "a.jpg", "frame": 12, "box": [1, 2], "caption": 300 * "a man walks "}
    table.write_text(f"{json.dumps(row)}\n[]\n" + '{"thermal": 3}\n')
    first = identity.stamp([data], [])
    (tmp_path / "a.jpg").write_bytes(b"another")
    assert identity.stamp([data], []) != first
    table.write_text("{\n")
    with pytest.raises(RecordingError, match="line 1: is no JSON"):
        identity.stamp([data], [])


def test_vectors_without_a_word_on_their_teacher_are_refused(tmp_path: Path) -> None:
    _cache(tmp_path).fill(draw, Teacher())
    (tmp_path / "cache.json").unlink()
    with pytest.raises(OptionError, match="vectors that nobody knows the teacher of"):
        _cache(tmp_path)
