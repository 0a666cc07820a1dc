"""AudioCaps (Kim et al. 2019): 10 s of AudioSet with captions, five each in the test split.

audiocaps/
  test.csv    audiocap_id,youtube_id,start_time,caption
  ...         the clips, under any name of `downloads`, anywhere below the root
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgebind.evaluate.dataset import Dataset, Published
from edgebind.evaluate.datasets import captions, downloads, layout

SPLITS = ("test", "val", "train")
SECONDS = 10.0
PUBLISHED = (Published("recall@1", imagebind=9.3), Published("recall@10", imagebind=42.3))
DIFFERS = "ImageBind judged the part of the test split that shares no video with VGGSound; here all of it is judged"


def open(root: Path, split: str = "test") -> Dataset:
    """One split in `root`. Each caption is a query; the published numbers are of text to sound.

    Raises
    ------
    RecordingError: another layout, or no sound at all.
    MissingDependencyError: the clips are no WAV files, and PyAV is not installed.
    """
    table = layout.first_that_exists(root, f"{split}.csv", f"dataset/{split}.csv")
    found, notes = layout.present(
        _described(table, root), lambda item: item.path, root, partial(downloads.readable, kind="audio")
    )
    pairing = captions.pairing(f"AudioCaps {split}", "audio", root, found, PUBLISHED if split == "test" else ())
    licence = "captions for academic use; videos under their authors' terms"
    said = {"split": split, **notes, "protocol": DIFFERS, "licence": licence}
    return Dataset("AudioCaps", pairings=(pairing,), notes=said)


def _described(table: Path, root: Path) -> list[captions.Described]:
    """The clips in the order of their first caption."""
    sentences: dict[tuple[str, str], list[str]] = {}
    for row in layout.rows(table, ("youtube_id", "start_time", "caption")):
        sentences.setdefault((row["youtube_id"], row["start_time"]), []).append(row["caption"])
    files = downloads.Downloads(root, downloads.SOUND)
    described = []
    for (name, cell), texts in sentences.items():
        start = layout.number(cell, "start_time", table)
        described.append(captions.Described(files.of(name, start, start + SECONDS), tuple(texts)))
    return described
