"""Text files of prompts as sources."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.sources.file import open_recording

SPEC = WindowSpec(1.0, 1.0, 1.0, ("token",), ("id",))


def read(path: Path, rate: float | None = None) -> list[tuple[int, str]]:
    with open_recording(path, "text", SPEC, rate_hz=rate) as source:
        return [(int(chunk.times[0]), str(chunk.samples[0])) for chunk in source]


def test_one_prompt_a_line_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeffa dog barking\n\n   \n  Überraschung!\r\nrain", encoding="utf-8")
    assert read(path) == [(0, "a dog barking"), (3_000_000_000, "Überraschung!"), (4_000_000_000, "rain")]
    assert read(path, rate=2.0)[-1] == (2_000_000_000, "rain")


def test_gzipped(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt.gz").write_bytes(gzip.compress(b"a dog\n"))
    assert read(tmp_path / "prompts.txt.gz") == [(0, "a dog")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "no prompts"),
        (b" \n\n", "no prompts"),
        (b"a dog\n\xff\xfe\n", "is not text"),
        (b"a dog\n" + b"x" * (1 << 20), "line 2: the line has no end"),
        (gzip.compress(b"a dog\n" * 1000)[:-9], "gzip file is damaged or cut off"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=f"prompts.txt.*{expected}"):
        read(path)


def test_a_picture_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"not a recording of text.*one prompt a line, got \.png"):
        read(tmp_path / "x.png")
