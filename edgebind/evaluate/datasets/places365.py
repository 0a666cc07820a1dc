"""Places365-Standard (Zhou et al. 2017): 36,500 validation pictures of 365 scenes.

places365/
  places365_val.txt           Places365_val_00000001.jpg 165
  categories_places365.txt    /a/airfield 0
  val_256/                    or val_large/
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Dataset, Published
from edgebind.evaluate.datasets import layout, templates
from edgebind.train.data.samples import load

SPLITS = ("val",)
FOLDERS = ("val_256", "val_large")
LISTS = ("", "filelist_places365-standard/", "places365_standard/")
PUBLISHED = Published("top1", random=0.27, imagebind=45.4, supervised=60.7)
BEFORE = ("indoor", "outdoor", "interior", "exterior", "public", "wild", "cultivated", "natural", "urban")
"""Words after the last slash of a category that English puts before the noun."""


def open(root: Path, split: str = "val") -> Dataset:
    """The validation pictures in `root`.

    Raises
    ------
    RecordingError: another layout, or no picture at all.
    """
    names = _numbered(layout.first_that_exists(root, *(f"{at}categories_places365.txt" for at in LISTS)))
    table = layout.first_that_exists(root, *(f"{at}places365_val.txt" for at in LISTS))
    folder = layout.first_that_exists(root, *FOLDERS)
    classes = _classes(names, table)
    found, notes = layout.present(_numbered(table), lambda item: folder / item[0], root)
    beyond = [target for _, target in found if not 0 <= target < len(classes)]
    if beyond:
        raise RecordingError("unknown class", where=table, wanted=f"0 to {len(classes) - 1}", got=beyond[0])
    clips = Classification(
        name="Places365",
        modality="vision",
        clips=[layout.clip(root, folder / name, partial(load, folder / name, "vision")) for name, _ in found],
        targets=tuple((target,) for _, target in found),
        classes=classes,
        words=tuple((label,) for label in classes),
        templates=templates.SCENE,
        published=(PUBLISHED,),
    )
    return Dataset("Places365", (clips,), notes={"split": split, **notes, "licence": "research use only (MIT)"})


def _numbered(path: Path) -> list[tuple[str, int]]:
    """Lines of a name and a number."""
    pairs = layout.bare_rows(path, 2, delimiter=" ")
    return [(name, layout.whole_number(number, "class", path)) for name, number, *_ in pairs]


def _classes(names: list[tuple[str, int]], where: Path) -> tuple[str, ...]:
    ordered = sorted(names, key=lambda pair: pair[1])
    if [number for _, number in ordered] != list(range(len(ordered))):
        raise RecordingError("classes have gaps", where=where, wanted=f"0 to {len(ordered) - 1}")
    return tuple(spoken(name) for name, _ in ordered)


def spoken(category: str) -> str:
    """`/a/apartment_building/outdoor` -> `outdoor apartment building`; `/t/temple/asia` -> `temple asia`."""
    parts = [part.replace("_", " ") for part in re.sub(r"^/?\w/", "", category).split("/")]
    return " ".join(reversed(parts) if parts[-1] in BEFORE else parts)
