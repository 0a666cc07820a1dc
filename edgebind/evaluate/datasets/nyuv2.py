"""NYU Depth v2 (Silberman et al. 2012): 1449 labelled indoor views of a Kinect; ten kinds of rooms from depth alone.

    root/
      nyu_depth_v2_labeled.mat    HDF5: depths (1449, 640, 480) metres, images (1449, 3, 640, 480), sceneTypes
      splits.mat                  trainNdxs (795), testNdxs (654), counted from 1

The nine kinds of the benchmark, and all others together as the tenth: a room is as near to it as to the nearest of their
names, as in ImageBind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import extras
from edgebind.errors import MissingDependencyError, RecordingError
from edgebind.evaluate.dataset import Classification, Clip, Dataset, Pairing, Published
from edgebind.evaluate.datasets import layout, templates

SPLITS = ("test", "train+test")
LABELED = "nyu_depth_v2_labeled.mat"
SCENES = (
    "bathroom",
    "bedroom",
    "bookstore",
    "classroom",
    "dining_room",
    "home_office",
    "kitchen",
    "living_room",
    "office",
)
OTHERS = "others"
PUBLISHED = Published("top1", random=10.0, text_paired=41.9, imagebind=54.0, supervised=76.7)


def open(root: Path, split: str = "test") -> Dataset:
    """Rooms by depth alone, and pairs of depth and picture.

    Parameters
    ----------
    split: `test` as the benchmark; `train+test` adds the training part, to learn from in few-shot probes.

    Raises
    ------
    RecordingError: another layout.
    MissingDependencyError: h5py or SciPy is not installed.
    """
    path = root / LABELED
    scenes = _scenes(path)
    learned, judged = _split(root / "splits.mat", len(scenes))
    views = judged if split == "test" else [*learned, *judged]
    rooms = Classification(
        name="NYU-v2 depth",
        modality="depth",
        clips=[_clip(path, "depth", view) for view in views],
        targets=tuple((_target(scenes[view]),) for view in views),
        classes=(*SCENES, OTHERS),
        words=(*((_spoken(scene),) for scene in SCENES), _others(scenes)),
        templates=templates.DEPTH,
        by_nearest=True,
        published=(PUBLISHED,),
        training=() if split == "test" else tuple(range(len(learned))),
    )
    notes = {"split": split, "clips": f"all {len(views)} of the protocol", "licence": "research use (NYU)"}
    return Dataset("NYU-v2", (rooms,), (_pairs(path, judged),), notes)


def _target(scene: str) -> int:
    return SCENES.index(scene) if scene in SCENES else len(SCENES)


def _spoken(scene: str) -> str:
    return scene.replace("_", " ")


def _others(scenes: Sequence[str]) -> tuple[str, ...]:
    """What the rooms of the tenth class are called."""
    return tuple(sorted({_spoken(scene) for scene in scenes if scene not in SCENES})) or ("room of another kind",)


def _split(path: Path, count: int) -> tuple[list[int], list[int]]:
    """Training and test views, counted from 0."""
    found = layout.matlab(path, ("trainNdxs", "testNdxs"))
    learned, judged = ([int(number) - 1 for number in np.ravel(found[name])] for name in ("trainNdxs", "testNdxs"))
    beyond = [view + 1 for view in (*learned, *judged) if not 0 <= view < count]
    if beyond or not judged:
        raise RecordingError(
            "split does not fit", where=path, wanted=f"1 to {count}", got=beyond[0] if beyond else "no test view"
        )
    return learned, judged


def _pairs(path: Path, views: Sequence[int]) -> Pairing:
    left = [_clip(path, "depth", view) for view in views]
    right = [_clip(path, "image", view) for view in views]
    return Pairing("NYU-v2 pairs", "depth", left, "vision", right, tuple((at, at) for at in range(len(views))))


def _clip(path: Path, what: str, view: int) -> Clip:
    read = partial(depth if what == "depth" else picture, path, view)
    return layout.clip(path.parent, path, read, f"#{what}{view + 1}")


# --- the file ---------------------------------------------------------------------------------------------------------


def depth(path: Path, view: int) -> NDArray[np.float32]:
    """float32 (480, 640) metres of view `view`, counted from 0; MATLAB's columns are HDF5's rows.

    Raises
    ------
    RecordingError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return np.ascontiguousarray(file["depths"][view].T, np.float32)


def picture(path: Path, view: int) -> NDArray[np.uint8]:
    """uint8 (480, 640, 3), RGB, of view `view`, counted from 0.

    Raises
    ------
    RecordingError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return np.ascontiguousarray(file["images"][view].T)


def _scenes(path: Path) -> list[str]:
    with _opened(path) as file:
        scenes = ["".join(map(chr, np.ravel(file[cell][()]))) for cell in np.ravel(file["sceneTypes"][()])]
        shape = file["depths"].shape
        if len(shape) != 3 or shape[0] != len(scenes):
            raise RecordingError(
                "depths have another shape", where=path, wanted=f"({len(scenes)}, 640, 480)", got=shape
            )
        return scenes


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("h5py is not installed", remedy=extras.remedy("evaluate")) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except KeyError as error:
        raise RecordingError(
            f"variable is missing: {error}", where=path, wanted="depths, images, sceneTypes"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise RecordingError(f"cannot be read: {error}", where=path, wanted=f"{LABELED} of NYU") from error
