"""Vectors that are kept: what was embedded once is not embedded again, whatever happened in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.evaluate import vectors
from edgebind.evaluate.dataset import Clip
from edgebind.evaluate.encoder import Encoder
from edgebind.evaluate.vectors import Store
from edgebind.manifest import WindowSpec
from edgebind.signals import Floats


class Counting:
    """An encoder of words: one vector a length, and a note of all that it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def run(self, samples: Sequence[Any]) -> Floats:
        if "bad" in samples:
            raise RecordingError("sound is too short")
        self.asked += samples
        return np.eye(8, dtype=np.float32)[[len(sample) % 8 for sample in samples]]

    def encoder(self, digest: str = "d1") -> Encoder:
        spec = WindowSpec.of_imagebind("text")
        return Encoder("words", "s", "text", 8, "fp32", "hand", 1.0, spec, digest, self.run)


def _clip(text: str) -> Clip:
    return Clip(f"clip {text}", lambda: text)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "PIECE", 3)


CLIPS = [_clip("x" * length) for length in range(1, 9)]


def test_a_second_evaluation_embeds_nothing(tmp_path: Path) -> None:
    counting = Counting()
    first = Store(tmp_path).embed(counting.encoder(), CLIPS, "toy")
    assert len(counting.asked) == 8
    again = Store(tmp_path).embed(counting.encoder(), CLIPS, "toy")
    assert len(counting.asked) == 8
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert first.rows == again.rows == tuple(range(8))


def test_a_stopped_evaluation_goes_on_after_its_last_whole_piece(tmp_path: Path) -> None:
    def stop() -> str:
        raise KeyboardInterrupt

    stopped = [*CLIPS[:4], Clip(CLIPS[4].name, stop), *CLIPS[5:]]
    counting = Counting()
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).embed(counting.encoder(), stopped, "toy")
    counting.asked.clear()
    found = Store(tmp_path).embed(counting.encoder(), CLIPS, "toy")
    assert counting.asked == ["x" * length for length in range(4, 9)]  # the first piece of three was kept
    np.testing.assert_array_equal(found.vectors.argmax(axis=1), [1, 2, 3, 4, 5, 6, 7, 0])


@pytest.mark.parametrize(
    "change",
    [{"digest": "d2"}, {"source": "elsewhere"}, {"clips": CLIPS[:7]}],
    ids=["other weights", "other folder", "other clips"],
)
def test_anything_else_is_embedded_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    counting = Counting()
    store = Store(tmp_path)
    store.embed(counting.encoder(), CLIPS, "toy", "here")
    before = len(counting.asked)
    store.embed(
        counting.encoder(change.get("digest", "d1")), change.get("clips", CLIPS), "toy", change.get("source", "here")
    )
    assert len(counting.asked) > before


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    counting = Counting()
    Store(tmp_path).embed(counting.encoder(), CLIPS, "toy")
    kept = sorted(tmp_path.rglob("*.npz"))
    assert [path.name for path in kept] == ["00000.npz", "00001.npz", "00002.npz"]
    kept[1].write_bytes(b"PK damaged")
    counting.asked.clear()
    Store(tmp_path).embed(counting.encoder(), CLIPS, "toy")
    assert counting.asked == ["x" * length for length in (4, 5, 6)]


def test_clips_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    def lost() -> str:
        raise RecordingError("no such file", where="gone.wav")

    clips = [*CLIPS[:2], Clip("gone", lost), _clip("bad"), *CLIPS[2:]]
    for store in (Store(None), Store(tmp_path), Store(tmp_path)):
        found = store.embed(Counting().encoder(), clips, "toy")
        assert found.rows == (0, 1, 4, 5, 6, 7, 8, 9)
        assert len(found.vectors) == 8
        assert found.damaged == ("gone: gone.wav: no such file", "clip bad: sound is too short")


def test_a_file_that_was_repaired_or_has_changed_is_embedded_anew_and_no_other(tmp_path: Path) -> None:
    def lost() -> str:
        raise RecordingError("no such file", where="gone.wav")

    before = [replace(CLIPS[0], load=lost), *CLIPS[1:]]
    changed = replace(CLIPS[4], load=lambda: "x" * 7, stamp="written later")
    counting = Counting()
    assert Store(tmp_path).embed(counting.encoder(), before, "toy").rows == (1, 2, 3, 4, 5, 6, 7)
    counting.asked.clear()
    now = [*CLIPS[:4], changed, *CLIPS[5:]]
    found = Store(tmp_path).embed(counting.encoder(), now, "toy")
    assert counting.asked == ["x", "x" * 7]
    assert (found.rows, found.damaged) == (tuple(range(8)), ())
    np.testing.assert_array_equal(found.vectors.argmax(axis=1), [1, 2, 3, 4, 7, 6, 7, 0])
    counting.asked.clear()
    again = Store(tmp_path).embed(counting.encoder(), now, "toy")
    assert counting.asked == []
    np.testing.assert_array_equal(again.vectors, found.vectors)


def test_a_data_set_without_a_readable_clip_is_one_clear_line() -> None:
    with pytest.raises(
        RecordingError, match="toy: no clip can be read, the first because: clip bad: sound is too short"
    ):
        Store(None).embed(Counting().encoder(), [_clip("bad")], "toy")


def test_progress_counts_clips(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    store = Store(tmp_path, lambda *step: seen.append(step))
    encoder = replace(Counting().encoder(), name="words")
    store.embed(encoder, CLIPS, "toy")
    assert {stage for stage, _, _ in seen} == {"words on toy"}
    assert [step for _, step, _ in seen] == sorted(step for _, step, _ in seen)
    assert seen[-1] == ("words on toy", 7, 8)
    assert len(seen) == len(set(seen))
