"""Clotho 2.1 (Drossos et al. 2020): sounds of 15 to 30 s with five captions each.

clotho/
  clotho_captions_evaluation.csv    file_name,caption_1,...,caption_5
  evaluation/                       *.wav
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgebind.evaluate.dataset import Dataset, Published
from edgebind.evaluate.datasets import captions, downloads, layout

SPLITS = ("evaluation", "validation", "development")
COLUMNS = tuple(f"caption_{number}" for number in range(1, 6))
PUBLISHED = (Published("recall@1", imagebind=6.0), Published("recall@10", imagebind=28.4))


def open(root: Path, split: str = "evaluation") -> Dataset:
    """One split in `root`. Each of the five captions is a query; the published numbers are of text to sound.

    Raises
    ------
    RecordingError: another layout, or no sound at all.
    """
    table = root / f"clotho_captions_{split}.csv"
    listed = [
        captions.Described(root / split / row["file_name"], tuple(row[column] for column in COLUMNS))
        for row in layout.rows(table, ("file_name", *COLUMNS))
    ]
    found, notes = layout.present(listed, lambda item: item.path, root, partial(downloads.readable, kind="audio"))
    published = PUBLISHED if split == "evaluation" else ()
    pairing = captions.pairing(f"Clotho {split}", "audio", root, found, published)
    licence = "captions for non-commercial use (Tampere University); sounds under their Freesound licences"
    return Dataset("Clotho", pairings=(pairing,), notes={"split": split, **notes, "licence": licence})
