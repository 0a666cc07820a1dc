"""VGGSound (Chen et al. 2020): 10 s of YouTube videos whose sound can be seen, 309 classes.

VGGSound/
  vggsound.csv    without titles: YouTube id, first second, class, train or test
  ...             the clips, under any name of `downloads`, anywhere below the root
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgebind.evaluate.dataset import Classification, Dataset, Published
from edgebind.evaluate.datasets import downloads, layout, templates
from edgebind.train.data.samples import load

SPLITS = ("test", "train")
SECONDS = 10.0
PUBLISHED = Published("top1", random=0.32, imagebind=27.8, supervised=52.5)


def open(root: Path, split: str = "test") -> Dataset:
    """The clips of one split in `root`.

    Raises
    ------
    RecordingError: another layout, or no clip at all.
    MissingDependencyError: the clips are no WAV files, and PyAV is not installed.
    """
    table = layout.first_that_exists(root, "vggsound.csv", "data/vggsound.csv")
    rows = list(layout.bare_rows(table, 4))
    classes = tuple(sorted({label for _, _, label, *_ in rows}))
    files = downloads.Downloads(root, downloads.SOUND)
    listed = [(_file(files, name, start, table), label) for name, start, label, part, *_ in rows if part == split]
    found, notes = layout.present(listed, lambda item: item[0], root, partial(downloads.readable, kind="audio"))
    clips = Classification(
        name=f"VGGSound {split}",
        modality="audio",
        clips=[layout.clip(root, path, partial(load, path, "audio")) for path, _ in found],
        targets=tuple((classes.index(label),) for _, label in found),
        classes=classes,
        words=tuple((label,) for label in classes),
        templates=templates.AUDIO,
        published=(PUBLISHED,) if split == "test" else (),
    )
    licence = "list CC BY 4.0; videos under their authors' terms"
    asked = downloads.with_the_seen(clips, [path for path, _ in found])
    return Dataset("VGGSound", asked, notes={"split": split, **notes, "licence": licence})


def _file(files: downloads.Downloads, youtube_id: str, start: str, table: Path) -> Path:
    first = layout.number(start, "first second", table)
    return files.of(youtube_id, first, first + SECONDS)
