"""LLVIP (Jia et al. 2021): pairs of visible and thermal pictures of streets at night, with the people in them.

    LLVIP/
      Annotations/              010001.xml, VOC: size, and a bndbox for each person
      infrared/{train,test}/    010001.jpg
      visible/{train,test}/     010001.jpg, the same view

People are told from background: each box of a person is cut out, and of the same picture a piece of the same size that
touches nobody. Where such a piece lies is drawn from the picture's name, so everybody gets the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from edgebind import utf8
from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Clip, Dataset, Pairing, Published
from edgebind.evaluate.datasets import layout, templates
from edgebind.preprocess.images import read_image
from edgebind.train.data.samples import load

SPLITS = ("test", "train")
CLASSES = {
    "person": ("person", "man", "woman", "group of people"),
    "background": ("street", "road", "car", "light", "tree"),
}
"""What each class is called in its prompts. There is no word for "nobody": background is what streets are made of."""
PUBLISHED = Published("top1", random=50.0, imagebind=63.4)
TRIES = 50
"""Random places for one piece of background; in a crowd there may be none."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    width: int
    height: int
    people: tuple[Box, ...]


def open(root: Path, split: str = "test") -> Dataset:
    """People and background of one split, and its pairs of thermal and visible pictures.

    Raises
    ------
    RecordingError: another layout, or no picture at all.
    """
    folder = layout.first_that_exists(root, f"infrared/{split}")
    paths = sorted(folder.glob("*.jpg"))
    notes = _annotated(root, paths)
    pictures = [_read(root, path) for path in paths if layout.is_there(_annotation(root, path))]
    crops = [(picture, box, label) for picture in pictures for box, label in _crops(picture)]
    people = Classification(
        name=f"LLVIP {split}",
        modality="thermal",
        clips=[_crop_clip(root, picture.path, box) for picture, box, _ in crops],
        targets=tuple((label,) for _, _, label in crops),
        classes=tuple(CLASSES),
        words=tuple(CLASSES.values()),
        templates=templates.THERMAL,
        published=(PUBLISHED,) if split == "test" else (),
        groups=tuple(picture.path.stem[:2] for picture, _, _ in crops),
    )
    licence = "non-commercial research (BUPT)"
    notes |= {"split": split, "crops": _counted(crops), "licence": licence}
    return Dataset("LLVIP", (people,), _pairs(root, [picture.path for picture in pictures], split), notes)


def _annotation(root: Path, path: Path) -> Path:
    return root / "Annotations" / f"{path.stem}.xml"


def _annotated(root: Path, paths: Sequence[Path]) -> dict[str, str]:
    _, notes = layout.present(paths, partial(_annotation, root), root)
    return {"pictures": notes["clips"]}


def _counted(crops: Sequence[tuple[_Picture, Box, int]]) -> str:
    background = sum(label for _, _, label in crops)
    return f"{len(crops) - background} of people and {background} of background; ImageBind's were 7931 and 7878"


def _pairs(root: Path, paths: Sequence[Path], split: str) -> tuple[Pairing, ...]:
    """Thermal and visible pictures of the same view, as far as the visible ones are there."""
    both = [(path, root / "visible" / split / path.name) for path in paths]
    both = [pair for pair in both if layout.is_there(pair[1])]
    if not both:
        return ()
    thermal, visible = (
        [layout.clip(root, pair[side], partial(load, pair[side], modality)) for pair in both]
        for side, modality in enumerate(("thermal", "vision"))
    )
    pairs = tuple((at, at) for at in range(len(both)))
    return (Pairing(f"LLVIP {split} pairs", "thermal", thermal, "vision", visible, pairs),)


# --- annotations ------------------------------------------------------------------------------------------------------


def _read(root: Path, path: Path) -> _Picture:
    annotation = _annotation(root, path)
    try:
        tree = ElementTree.parse(annotation).getroot()
        width, height = (_pixel(tree, f"size/{side}") for side in ("width", "height"))
        people = tuple(_box(thing) for thing in tree.iter("object") if thing.findtext("name") == "person")
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise RecordingError(
            f"no readable annotation: {error}", where=annotation, wanted="VOC XML with size, object and bndbox"
        ) from error
    inside = (_within(box, width, height) for box in people)
    return _Picture(path, width, height, tuple(box for box in inside if box[0] < box[2] and box[1] < box[3]))


def _box(thing: ElementTree.Element) -> Box:
    left, top, right, bottom = (_pixel(thing, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
    return left, top, right, bottom


def _pixel(parent: ElementTree.Element, path: str) -> int:
    text = parent.findtext(path)
    if text is None:
        raise ValueError(f"{path} is missing")
    return round(float(text))


def _within(box: Box, width: int, height: int) -> Box:
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


# --- crops ------------------------------------------------------------------------------------------------------------


def _crops(picture: _Picture) -> Iterator[tuple[Box, int]]:
    """Each person, and as many pieces of background of the same sizes, as far as there is room."""
    yield from ((box, 0) for box in picture.people)
    random = np.random.default_rng(zlib.crc32(utf8.encoded(picture.path.stem)))
    for box in picture.people:
        free = _elsewhere(box, picture, random)
        if free is not None:
            yield free, 1


def _elsewhere(box: Box, picture: _Picture, random: np.random.Generator) -> Box | None:
    width, height = box[2] - box[0], box[3] - box[1]
    for _ in range(TRIES):
        left = int(random.integers(picture.width - width + 1))
        top = int(random.integers(picture.height - height + 1))
        place = (left, top, left + width, top + height)
        if not any(_touch(place, person) for person in picture.people):
            return place
    return None


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _crop_clip(root: Path, path: Path, box: Box) -> Clip:
    return layout.clip(root, path, partial(crop, path, box), f"#{','.join(map(str, box))}")


def crop(path: Path, box: Box) -> NDArray[np.uint8]:
    """The piece `box` of a picture: uint8 (height, width) or (height, width, 3).

    Raises
    ------
    RecordingError: no such picture, damaged, or smaller than its annotation says.
    """
    picture = _whole(path)
    left, top, right, bottom = box
    if right > picture.shape[1] or bottom > picture.shape[0]:
        size = f"{picture.shape[1]} x {picture.shape[0]} pixels"
        raise RecordingError("picture is smaller than annotated", where=path, wanted=f"{right} x {bottom}", got=size)
    return picture[top:bottom, left:right]


@lru_cache(maxsize=2)
def _whole(path: Path) -> NDArray[Any]:
    """Crops of one picture follow each other: it is decoded once."""
    return read_image(path)
