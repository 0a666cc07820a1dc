"""ImageNet-1K (Russakovsky et al. 2015): 50,000 validation pictures of 1000 classes, in any of three layouts.

    root/                                           what torchvision reads
      val/n01440764/ILSVRC2012_val_00000293.JPEG
      LOC_synset_mapping.txt                        n01440764 tench, Tinca tinca
    root/                                           as Kaggle ships it
      ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG
      LOC_val_solution.csv                          ImageId,PredictionString
      LOC_synset_mapping.txt
    root/                                           as image-net.org ships it
      val/ILSVRC2012_val_00000001.JPEG
      ILSVRC2012_devkit_t12/data/                   meta.mat, ILSVRC2012_validation_ground_truth.txt

A file classnames.txt with 1000 lines, in the order of the WordNet numbers, replaces WordNet's names in the prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Dataset, Published
from edgebind.evaluate.datasets import layout, templates
from edgebind.train.data.samples import load

SPLITS = ("val",)
FOLDERS = ("val", "ILSVRC/Data/CLS-LOC/val")
MAPPING = "LOC_synset_mapping.txt"
SOLUTION = "LOC_val_solution.csv"
DEVKIT = "ILSVRC2012_devkit_t12/data"
TRUTH = f"{DEVKIT}/ILSVRC2012_validation_ground_truth.txt"
PUBLISHED = Published("top1", random=0.1, imagebind=77.7, supervised=91.0)

Labelled = list[tuple[Path, str]]
"""Pictures and their WordNet numbers."""


def open(root: Path, split: str = "val") -> Dataset:
    """The validation pictures in `root`.

    Raises
    ------
    RecordingError: none of the layouts, a picture of an unknown class, or no picture at all.
    MissingDependencyError: the devkit is there alone, and SciPy is not installed.
    """
    words = _words(root)
    numbers = sorted(words)
    index = {number: at for at, number in enumerate(numbers)}
    listed = _listed(root, layout.first_that_exists(root, *FOLDERS))
    unknown = next((number for _, number in listed if number not in index), None)
    if unknown is not None:
        raise RecordingError("unknown class", where=root, wanted="one of the list of classes", got=unknown)
    found, notes = layout.present(listed, lambda item: item[0], root)
    spoken, whose = _spoken(root, [words[number] for number in numbers])
    clips = Classification(
        name="ImageNet-1K",
        modality="vision",
        clips=[layout.clip(root, path, partial(load, path, "vision")) for path, _ in found],
        targets=tuple((index[number],) for _, number in found),
        classes=_unique(spoken, numbers),
        words=tuple((name,) for name in spoken),
        templates=templates.IMAGE,
        published=(PUBLISHED,),
    )
    notes |= {"split": split, "class names": whose, "licence": "research use (image-net.org)"}
    return Dataset("ImageNet-1K", (clips,), notes=notes)


# --- classes ----------------------------------------------------------------------------------------------------------


def _words(root: Path) -> dict[str, str]:
    """WordNet number -> its synonyms, by commas."""
    if (root / MAPPING).is_file():
        lines = (line.partition(" ") for line in layout.text(root / MAPPING).splitlines() if line.strip())
        return {number: words for number, _, words in lines}
    if (root / DEVKIT).is_dir():
        return {entry["WNID"]: entry["words"] for entry in _synsets(root)}
    layout.first_that_exists(root, MAPPING, DEVKIT)
    return {}


def _synsets(root: Path) -> list[dict[str, Any]]:
    """The 1000 classes of the devkit; the others of its list are their parents."""
    path = root / DEVKIT / "meta.mat"
    found: list[dict[str, Any]] = list(layout.matlab(path, ("synsets",))["synsets"])
    try:
        return [entry for entry in found if int(entry["num_children"]) == 0]
    except (KeyError, TypeError, IndexError) as error:
        raise RecordingError(
            "another layout", where=path, wanted="synsets with num_children", got=repr(error)
        ) from error


def _spoken(root: Path, words: Sequence[str]) -> tuple[list[str], str]:
    """A name for each class, and where the names come from."""
    chosen = root / "classnames.txt"
    if not chosen.is_file():
        return [
            line.split(",")[0].strip() for line in words
        ], "WordNet's first synonym; CLIP's curated names score higher"
    names = [line.strip() for line in layout.text(chosen).splitlines() if line.strip()]
    if len(names) != len(words):
        raise RecordingError("another number of names", where=chosen, wanted=len(words), got=len(names))
    return names, chosen.name


def _unique(names: Sequence[str], numbers: Sequence[str]) -> tuple[str, ...]:
    """Two classes are called crane: their number tells them apart in reports."""
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} ({number})" for name, number in zip(names, numbers, strict=True)
    )


# --- pictures ---------------------------------------------------------------------------------------------------------


def _listed(root: Path, folder: Path) -> Labelled:
    if any(path.is_dir() for path in folder.iterdir()):
        return [(path, path.parent.name) for path in sorted(folder.glob("*/*.JPEG"))]
    if (root / SOLUTION).is_file():
        return _from_solution(root / SOLUTION, folder)
    if (root / TRUTH).is_file():
        return _from_devkit(root, folder)
    layout.first_that_exists(root, SOLUTION, TRUTH)
    return []


def _from_solution(path: Path, folder: Path) -> Labelled:
    rows = layout.rows(path, ("ImageId", "PredictionString"))
    return [(folder / f"{row['ImageId']}.JPEG", row["PredictionString"].split()[0]) for row in rows]


def _from_devkit(root: Path, folder: Path) -> Labelled:
    path = root / TRUTH
    names = {int(entry["ILSVRC2012_ID"]): str(entry["WNID"]) for entry in _synsets(root)}
    labelled = []
    for at, line in enumerate(layout.text(path).split(), start=1):
        number = layout.whole_number(line, "class", path)
        labelled.append((folder / f"ILSVRC2012_val_{at:08d}.JPEG", names.get(number, f"class {number}")))
    return labelled
