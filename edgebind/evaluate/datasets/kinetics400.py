"""Kinetics-400 (Kay et al. 2017): 10 s of YouTube videos, 400 human actions.

kinetics400/
  annotations/val.csv    label,youtube_id,time_start,time_end,split[,is_cc]; or val.csv, validate.csv
  val/                   id_000010_000020.mp4, flat or in one folder a class; or anywhere below the root
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgebind.evaluate.dataset import Classification, Dataset, Published
from edgebind.evaluate.datasets import downloads, layout, templates
from edgebind.preprocess.videos import Video

SPLITS = ("val",)
LISTS = ("annotations/val.csv", "val.csv", "annotations/validate.csv", "validate.csv")
PUBLISHED = Published("top1", random=0.25, imagebind=50.0, supervised=89.9)


def open(root: Path, split: str = "val") -> Dataset:
    """The validation videos in `root`.

    Raises
    ------
    RecordingError: another layout, or no video at all.
    MissingDependencyError: PyAV is not installed.
    """
    table = layout.first_that_exists(root, *LISTS)
    rows = list(layout.rows(table, ("label", "youtube_id", "time_start", "time_end")))
    classes = tuple(sorted({row["label"] for row in rows}))
    files = downloads.Downloads(root / "val" if (root / "val").is_dir() else root, downloads.VIDEO)
    listed = [(_file(files, row, table), row["label"]) for row in rows]
    found, notes = layout.present(listed, lambda item: item[0], root, partial(downloads.readable, kind="video"))
    clips = Classification(
        name="Kinetics-400",
        modality="vision",
        clips=[layout.clip(root, path, partial(Video, path)) for path, _ in found],
        targets=tuple((classes.index(label),) for _, label in found),
        classes=classes,
        words=tuple((label,) for label in classes),
        templates=templates.ACTION,
        published=(PUBLISHED,),
    )
    licence = "list CC BY 4.0; videos under their authors' terms"
    return Dataset("Kinetics-400", (clips,), notes={"split": split, **notes, "licence": licence})


def _file(files: downloads.Downloads, row: layout.Row, table: Path) -> Path:
    start, end = (layout.number(row[column], column, table) for column in ("time_start", "time_end"))
    return files.of(row["youtube_id"], start, end)
