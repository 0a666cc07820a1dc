"""ESC-50 (Piczak 2015): 2000 environmental sounds of 5 s, 50 classes, in five folds that share no original recording.

ESC-50-master/
  meta/esc50.csv    filename,fold,target,category,esc10,src_file,take
  audio/            1-100032-A-0.wav, ...
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Clip, Dataset, Published
from edgebind.evaluate.datasets import layout, templates
from edgebind.train.data.samples import load

FOLDS = ("1", "2", "3", "4", "5")
SPLITS = ("all", *(f"fold{fold}" for fold in FOLDS))
PUBLISHED = Published("top1", random=2.75, text_paired=68.6, imagebind=66.9, supervised=97.0)


def open(root: Path, split: str = "all") -> Dataset:
    """The data set in `root`, the folder that holds meta/ and audio/.

    Parameters
    ----------
    split: `all` judges every clip, which is the mean of the five equal folds; `fold1` judges one of them and gives the
        other four for learning.

    Raises
    ------
    RecordingError: another layout, or no clip at all.
    """
    table = root / "meta" / "esc50.csv"
    listed = list(layout.rows(table, ("filename", "fold", "target", "category")))
    found, notes = layout.present(listed, lambda row: root / "audio" / row["filename"], root)
    classes = _classes(listed, table)
    learned = () if split == "all" else tuple(at for at, row in enumerate(found) if f"fold{row['fold']}" != split)
    clips = Classification(
        name="ESC-50",
        modality="audio",
        clips=[_clip(root, row["filename"]) for row in found],
        targets=tuple((int(row["target"]),) for row in found),
        classes=classes,
        words=tuple((label.replace("_", " "),) for label in classes),
        templates=templates.AUDIO,
        published=(PUBLISHED,),
        groups=tuple(f"fold {row['fold']}" for row in found),
        training=learned,
    )
    return Dataset("ESC-50", (clips,), notes={"split": split, **notes, "licence": "CC BY-NC 3.0"})


def _clip(root: Path, filename: str) -> Clip:
    path = root / "audio" / filename
    return layout.clip(root, path, partial(load, path, "audio"))


def _classes(listed: list[layout.Row], table: Path) -> tuple[str, ...]:
    """The names of targets 0, 1, ..."""
    names = {layout.whole_number(row["target"], "target", table): row["category"] for row in listed}
    if sorted(names) != list(range(len(names))):
        raise RecordingError("targets have gaps", where=table, wanted=f"0 to {len(names) - 1}", got=sorted(names)[:60])
    return tuple(names[target] for target in range(len(names)))
