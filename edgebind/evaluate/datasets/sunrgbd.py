"""SUN RGB-D (Song et al. 2015): indoor pictures with depth from four cameras; 19 kinds of rooms from depth alone.

    root/
      SUNRGBD/kv1/NYUdata/NYU0001/     also kv2, realsense, xtion
        depth_bfx/*.png                16 bits: millimetres, rotated left by three bits; holes filled
        image/*.jpg
        intrinsics.txt                 nine numbers by rows; the first is the focal length in pixels
        scene.txt                      bathroom
      SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat    alltrain, alltest: paths that end in SUNRGBD/...

Disparity is baseline x focal / depth, and each picture has its own camera, while a preprocessor has one for all of them.
So depth is handed on as the first Kinect would have to measure it to see the picture's own disparity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Classification, Clip, Dataset, Pairing, Published
from edgebind.evaluate.datasets import layout, templates
from edgebind.preprocess.depth import DepthPreprocessor, metres_from_millimetres
from edgebind.preprocess.images import read_image
from edgebind.train.data.samples import load

SPLITS = ("test", "train+test")
SCENES = (
    "bathroom",
    "bedroom",
    "classroom",
    "computer_room",
    "conference_room",
    "corridor",
    "dining_area",
    "dining_room",
    "discussion_area",
    "furniture_store",
    "home_office",
    "kitchen",
    "lab",
    "lecture_theatre",
    "library",
    "living_room",
    "office",
    "rest_space",
    "study_space",
)
"""Those of the benchmark: more than 80 pictures each. The data set's own files label all scenes and do not list these."""
BASELINES = {"kv1": 0.075, "kv2": 0.075, "realsense": 0.095, "xtion": 0.095}
"""Metres, by camera, as usually taken for this recipe (Girdhar et al., Omnivore, CVPR 2022)."""
SPLIT_FILES = tuple(f"{at}allsplit.mat" for at in ("SUNRGBDtoolbox/traintestSUNRGBD/", "SUNRGBDtoolbox/", ""))
PUBLISHED = Published("top1", random=5.26, text_paired=25.4, imagebind=35.1, supervised=64.9)


@dataclass(frozen=True, slots=True)
class _View:
    folder: Path
    scene: str | None
    """None where scene.txt is missing."""
    is_training: bool

    @property
    def depth(self) -> Path:
        return _only(self.folder / "depth_bfx", "*.png")

    @property
    def picture(self) -> Path:
        return _only(self.folder / "image", "*.jpg")


def open(root: Path, split: str = "test") -> Dataset:
    """Rooms by depth alone, and pairs of depth and picture.

    Parameters
    ----------
    split: `test` as the benchmark; `train+test` adds the training part, to learn from in few-shot probes.

    Raises
    ------
    RecordingError: another layout, or no depth picture at all.
    MissingDependencyError: SciPy is not installed.
    """
    listed = [view for view in _views(root, split) if view.scene is None or view.scene in SCENES]
    found, notes = layout.present(listed, lambda view: view.depth, root)
    scenes = [(view, view.scene) for view in found if view.scene is not None]
    rooms = Classification(
        name="SUN RGB-D depth",
        modality="depth",
        clips=[_depth_clip(root, view) for view, _ in scenes],
        targets=tuple((SCENES.index(scene),) for _, scene in scenes),
        classes=SCENES,
        words=tuple((scene.replace("_", " "),) for scene in SCENES),
        templates=templates.DEPTH,
        published=(PUBLISHED,),
        training=tuple(at for at, (view, _) in enumerate(scenes) if view.is_training),
    )
    judged = [view for view, _ in scenes if not view.is_training]
    notes |= {"split": split, "protocol": "19 scenes, depth_bfx as disparity", "licence": "research use (Princeton)"}
    return Dataset("SUN RGB-D", (rooms,), _pairs(root, judged), notes)


def _views(root: Path, split: str) -> list[_View]:
    table = layout.first_that_exists(root, *SPLIT_FILES)
    lists = {"test": ("alltest",), "train+test": ("alltrain", "alltest")}[split]
    found = layout.matlab(table, lists)
    return [_view(root, str(line), name == "alltrain", table) for name in lists for line in np.ravel(found[name])]


def _view(root: Path, line: str, is_training: bool, table: Path) -> _View:
    """A path of the authors' machine -> the folder here; the picture belongs to it by what stands after SUNRGBD/."""
    _, mark, below = line.rpartition("SUNRGBD/")
    if not mark:
        raise RecordingError("another kind of path", where=table, wanted=".../SUNRGBD/kv1/...", got=line)
    folder = root / "SUNRGBD" / below.strip("/")
    scene = folder / "scene.txt"
    return _View(folder, layout.text(scene).strip().lower() if layout.is_there(scene) else None, is_training)


def _only(folder: Path, pattern: str) -> Path:
    return min(folder.glob(pattern), default=folder / pattern)


def _depth_clip(root: Path, view: _View) -> Clip:
    path = view.depth
    camera = view.folder.relative_to(root / "SUNRGBD").parts[0]
    if camera not in BASELINES:
        raise RecordingError("unknown camera", where=view.folder, wanted=" or ".join(BASELINES), got=camera)
    return layout.clip(root, path, partial(depth, path, view.folder / "intrinsics.txt", BASELINES[camera]))


def _pairs(root: Path, views: Sequence[_View]) -> tuple[Pairing, ...]:
    both = [view for view in views if layout.is_there(view.picture)]
    if not both:
        return ()
    left = [_depth_clip(root, view) for view in both]
    right = [layout.clip(root, view.picture, partial(load, view.picture, "vision")) for view in both]
    return (Pairing("SUN RGB-D pairs", "depth", left, "vision", right, tuple((at, at) for at in range(len(both)))),)


# --- depth ------------------------------------------------------------------------------------------------------------


def depth(path: Path, intrinsics: Path, baseline: float) -> NDArray[np.float32]:
    """float32 (height, width) metres, as a first Kinect would see the same disparity.

    Raises
    ------
    RecordingError: no such file, no 16-bit picture, or no focal length.
    """
    raw = read_image(path)
    if raw.dtype != np.uint16:
        raise RecordingError("depth has another depth of bits", where=path, wanted="uint16", got=raw.dtype)
    metres = metres_from_millimetres(raw >> 3 | raw << 13)
    kinect = DepthPreprocessor()
    return metres * np.float32(kinect.baseline * kinect.focal / (baseline * _focal(intrinsics)))


def _focal(path: Path) -> float:
    cells = layout.text(path).split()
    focal = layout.number(cells[0], "focal length", path) if cells else 0.0
    if focal <= 0:
        raise RecordingError("focal length is not positive", where=path, wanted="pixels", got=f"{focal:g}")
    return focal
