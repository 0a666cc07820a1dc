"""AudioCaps (Kim et al. 2019): 10 s of AudioSet with captions, five each in the test split.

audiocaps/
  retrieval_test.csv    youtube_id,start_time,caption: the list of the audio retrieval benchmark, also below
                        AudioCaps_retrieval_dataset/ (Oncescu et al. 2021), which ImageBind was judged by
  test.csv              audiocap_id,youtube_id,start_time,caption: the data set's own list, where there is no other
  ...                   the clips, under any name of `downloads`, anywhere below the root
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgebind.evaluate.dataset import Dataset, Published
from edgebind.evaluate.datasets import captions, downloads, layout

SPLITS = ("test", "val", "train")
SECONDS = 10.0
PUBLISHED = (Published("recall@1", imagebind=9.3), Published("recall@10", imagebind=42.3))
BENCHMARK = "retrieval_{split}.csv"
LISTS = (f"AudioCaps_retrieval_dataset/{BENCHMARK}", BENCHMARK, "{split}.csv", "dataset/{split}.csv")
FOLLOWS = "clips of the audio retrieval benchmark, which share no video with VGGSound, as ImageBind was judged by"
DIFFERS = "all of the data set's split; ImageBind was judged by the audio retrieval benchmark's retrieval_test.csv, a part of it"


def open(root: Path, split: str = "test") -> Dataset:
    """One split in `root`. Each caption is a query; the published numbers are of text to sound.

    Raises
    ------
    RecordingError: another layout, or no sound at all.
    MissingDependencyError: the clips are no WAV files, and PyAV is not installed.
    """
    table = layout.first_that_exists(root, *(name.format(split=split) for name in LISTS))
    found, notes = layout.present(
        _described(table, root), lambda item: item.path, root, partial(downloads.readable, kind="audio")
    )
    pairing = captions.pairing(f"AudioCaps {split}", "audio", root, found, PUBLISHED if split == "test" else ())
    licence = "captions for academic use; videos under their authors' terms"
    protocol = FOLLOWS if table.name == BENCHMARK.format(split=split) else DIFFERS
    said = {"split": split, **notes, "protocol": protocol, "licence": licence}
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
