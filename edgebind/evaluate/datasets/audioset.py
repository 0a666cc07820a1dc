"""AudioSet (Gemmeke et al. 2017): 10 s of YouTube videos, 527 classes of sound, several a clip.

AudioSet/
  class_labels_indices.csv       index,mid,display_name
  eval_segments.csv              comments after #; YTID, start_seconds, end_seconds, "mid,mid,..."
  balanced_train_segments.csv
  eval_segments/                 the clips, under any name of `downloads`; or anywhere below the root
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Dataset, Published
from edgebind.evaluate.datasets import downloads, layout, templates
from edgebind.train.data.samples import load

TABLES = {"eval": "eval_segments", "balanced": "balanced_train_segments"}
SPLITS = tuple(TABLES)
PUBLISHED = Published("map", random=0.62, text_paired=28.4, imagebind=17.6, supervised=49.6)


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    targets: tuple[int, ...]


def open(root: Path, split: str = "eval") -> Dataset:
    """The clips of one list in `root`, which holds the lists and the classes.

    Raises
    ------
    RecordingError: another layout, a class that is not in the list of classes, or no clip at all.
    MissingDependencyError: the clips are no WAV files, and PyAV is not installed.
    """
    labels = list(layout.rows(root / "class_labels_indices.csv", ("index", "mid", "display_name")))
    name = TABLES[split]
    folder = root / name if (root / name).is_dir() else root
    listed = _segments(root / f"{name}.csv", folder, {row["mid"]: at for at, row in enumerate(labels)})
    found, notes = layout.present(listed, lambda segment: segment.path, root, partial(downloads.readable, kind="audio"))
    classes = tuple(row["display_name"] for row in labels)
    clips = Classification(
        name=f"AudioSet {split}",
        modality="audio",
        clips=[layout.clip(root, each.path, partial(load, each.path, "audio")) for each in found],
        targets=tuple(each.targets for each in found),
        classes=classes,
        words=tuple((label.lower(),) for label in classes),
        templates=templates.AUDIO,
        metric="map",
        published=(PUBLISHED,) if split == "eval" else (),
    )
    licence = "labels CC BY 4.0; videos under their authors' terms"
    asked = downloads.with_the_seen(clips, [each.path for each in found])
    return Dataset("AudioSet", asked, notes={"split": split, **notes, "licence": licence})


def _segments(table: Path, folder: Path, index: dict[str, int]) -> list[_Segment]:
    files = downloads.Downloads(folder, downloads.SOUND)
    segments = []
    for youtube_id, start, end, mids, *_ in layout.bare_rows(table, 4, comment="#"):
        names = mids.split(",")
        unknown = [name for name in names if name not in index]
        if unknown:
            raise RecordingError("unknown class", where=table, wanted="one of class_labels_indices.csv", got=unknown[0])
        path = files.of(youtube_id, *(layout.number(cell, "time", table) for cell in (start, end)))
        segments.append(_Segment(path, tuple(sorted({index[name] for name in names}))))
    return segments
