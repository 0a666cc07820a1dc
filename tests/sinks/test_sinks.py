"""JSON Lines as other tools read them, and the live line."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import OptionError, StorageError
from edgebind.signals import Embedding, Quality
from edgebind.sinks import jsonl, open_sink
from edgebind.sinks.jsonl import JsonLinesFileSink, JsonLinesSink
from edgebind.sinks.terminal import TerminalSink
from edgebind.wording import CLEAR


def embedding(**changes: object) -> Embedding:
    vector = np.random.default_rng(0).normal(size=384).astype(np.float32)
    values: dict[str, object] = {
        "start_ns": 5_000_000_000,
        "stop_ns": 8_000_000_000,
        "vector": vector / np.linalg.norm(vector),
        "quality": Quality(0.9, 12.5, 0.01),
        "labels": {"a person walking": 0.75, 'a "quoted" prompt': 0.25},
        "latency_ms": 1.23456,
        "sensor": "imu",
    }
    return Embedding(**(values | changes))  # type: ignore[arg-type]


def test_a_line_keeps_the_contract() -> None:
    one = embedding()
    line = jsonl.to_json(one)
    assert line.endswith("\n") and line.count("\n") == 1
    record = json.loads(line)
    assert list(record) == ["sensor", "start_ns", "stop_ns", "embedding", "labels", "quality", "latency_ms"]
    assert (record["sensor"], record["start_ns"], record["stop_ns"]) == ("imu", 5_000_000_000, 8_000_000_000)
    np.testing.assert_array_equal(np.array(record["embedding"], np.float32), one.vector)
    assert record["labels"] == one.labels
    assert record["quality"] == {"coverage": 0.9, "gap_ms": 12.5, "saturated": 0.01}
    assert record["latency_ms"] == 1.235


def test_a_line_without_the_vector() -> None:
    record = json.loads(jsonl.to_json(embedding(labels={}), vector=False))
    assert list(record) == ["sensor", "start_ns", "stop_ns", "labels", "quality", "latency_ms"]


def test_each_line_is_out_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.jsonl"
    with JsonLinesFileSink(path) as sink:
        sink.write(embedding())
        assert path.read_text() == jsonl.to_json(embedding())
        sink.write(embedding())
    sink.close()
    assert len(path.read_text().splitlines()) == 2


def test_a_file_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    with JsonLinesFileSink(path, embedding=False) as sink:
        sink.write(embedding())
    assert [next(iter(json.loads(line))) for line in path.read_text().splitlines()] == ["sensor"]


def test_a_stream_stays_its_owners() -> None:
    stream = io.StringIO()
    with JsonLinesSink(stream) as sink:
        sink.write(embedding())
    assert json.loads(stream.getvalue())["sensor"] == "imu"


def test_a_full_disk_is_one_line() -> None:
    with (
        JsonLinesFileSink(Path("/dev/full")) as sink,
        pytest.raises(StorageError, match="/dev/full: cannot be written: No space"),
    ):
        sink.write(embedding())


def test_a_first_line_that_finds_no_room_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.FileIO):
        write = full

    monkeypatch.setattr(jsonl, "open", lambda path, mode, **_: Full(path, mode.rstrip("b")), raising=False)
    with pytest.raises(StorageError, match="No space"), JsonLinesFileSink(tmp_path / "out.jsonl") as sink:
        sink.write(embedding())
    assert list(tmp_path.iterdir()) == []


def test_two_do_not_write_one_file(tmp_path: Path) -> None:
    with JsonLinesFileSink(tmp_path / "out.jsonl") as first:
        first.write(embedding())
        with pytest.raises(StorageError, match="somebody else writes it"):
            JsonLinesFileSink(tmp_path / "out.jsonl")
        first.write(embedding())
    with JsonLinesFileSink(tmp_path / "out.jsonl") as second:
        second.write(embedding())
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        JsonLinesFileSink(tmp_path / "file" / "out.jsonl")


def test_writing_after_the_end_is_refused(tmp_path: Path) -> None:
    sink = JsonLinesFileSink(tmp_path / "out.jsonl")
    sink.close()
    with pytest.raises(StorageError, match="already closed"):
        sink.write(embedding())


class _Terminal(io.StringIO):
    encoding = "utf-8"


def test_the_live_line_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = _Terminal()
    with TerminalSink(stream) as sink:
        sink.write(embedding())
        sink.write(embedding(start_ns=5_500_000_000, stop_ns=8_500_000_000, quality=Quality()))
    _, first, second = stream.getvalue().split(CLEAR)
    assert (
        first
        == '    3.0 s  ████████░░  75% a person walking, a "quoted" prompt 25%  coverage 90%  saturated 1%  1.2 ms'
    )
    assert second == '    3.5 s  ████████░░  75% a person walking, a "quoted" prompt 25%  1.2 ms\n'


def test_the_live_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = _Terminal()
    TerminalSink(stream).write(embedding())
    assert len(stream.getvalue().removeprefix(CLEAR)) == 39


def test_a_terminal_that_knows_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    TerminalSink(stream).write(embedding())
    assert "########.." in stream.buffer.getvalue().decode()


def test_no_labels_are_said_to_be_none() -> None:
    stream = _Terminal()
    TerminalSink(stream).write(embedding(labels={}))
    assert "384 dimensions, no labels" in stream.getvalue()


def test_nothing_shown_leaves_no_empty_line() -> None:
    stream = _Terminal()
    TerminalSink(stream).close()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("text", ["", "file:x", "jsonl:", "stdout:x"])
def test_unknown_sinks(text: str) -> None:
    with pytest.raises(OptionError):
        open_sink(text)


def test_sinks_by_their_kind(tmp_path: Path) -> None:
    with open_sink(f"jsonl:{tmp_path / 'a.jsonl'}") as sink:
        assert isinstance(sink, JsonLinesFileSink)
    assert isinstance(open_sink("stdout"), JsonLinesSink)  # pytest is no terminal


def test_an_older_file_is_kept_until_there_is_a_line_to_write(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text("yesterday\n")
    with JsonLinesFileSink(path):
        pass  # the recording turned out to be faulty before its first window
    assert path.read_text() == "yesterday\n"
