"""Augmentation of any sensor, and of a pair: what moves both moves both alike, what only one of them feels stays its own.

both cameras      one crop and one flip for the two; all frames of a video alike
each camera       its own settings and damage (`picture_augment`, `depth_augment`)
sound             its own microphone (`sound_augment`); beside a video or a movement it is never cut by itself
IMU               its mounting, strength, noise and a silent channel; time is never cut on one side alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind import preprocess
from edgebind.errors import OptionError
from edgebind.preprocess import videos
from edgebind.preprocess.depth import DepthPreprocessor
from edgebind.preprocess.videos import Sampling, Video
from edgebind.train.data import imu
from edgebind.train.data.depth_augment import DepthAugment, DepthCamera
from edgebind.train.data.geometry import Cropping, Frame, Geometry, draw_geometry
from edgebind.train.data.picture_augment import Camera, PictureAugment
from edgebind.train.data.samples import rate_of
from edgebind.train.data.sound_augment import Microphone, SoundAugment
from edgebind.train.recipe import Node, from_table


@dataclass(frozen=True)
class Together:
    """What a sample shares with the other end of its pair."""

    where: Geometry | None = None
    """Of two cameras: where both look."""
    in_time: bool = False
    """Whether the other end lasts too, as videos and movements do."""


ALONE = Together()

Bend = Callable[[Any, np.random.Generator, Together], Any]
"""Samples in physical units -> as another sensor would have seen them."""

UNPHYSICAL = {"vision": ("invert",)}
"""Modality -> what would make of its values something that no such camera ever saw."""
ENOUGH = 2
"""A frame that has this many times the pixels of the tower's square, along each side, shows it all there is to see."""


def bender(node: Node) -> tuple[Bend, Cropping | None]:
    """The augmentation of a node's samples, and how it cuts where it is a camera.

    Raises
    ------
    OptionError: constants that do not exist, a modality that has no augmentation, or one that would make nonsense of it.
    """
    if node.tower == "cached":
        return (lambda sample, rng, _: sample), None  # its vectors are of samples as they were
    if modalities.get(node.modality).is_camera:
        return _camera(node)
    if node.modality == "imu":
        about: imu.Augment = from_table(imu.Augment, node.augment, where="recipe", prefix="augment.")
        for name in set(imu.OF_RECORDINGS) & set(node.augment):
            wanted = "a reader of labelled recordings, or to leave it out"
            raise OptionError(f"augment.{name} is of windows cut out of recordings", where="recipe", wanted=wanted)
        return (lambda window, rng, _: _carry(window, about, rng)), None
    if node.modality == "audio":
        heard: SoundAugment = from_table(SoundAugment, node.augment, where="recipe", prefix="augment.")
        microphone = Microphone(heard, rate_of(node))
        return (lambda wave, rng, beside: microphone.hear(wave, rng, in_time=beside.in_time)), None
    if node.augment:
        raise OptionError("this modality has no augmentation", where="recipe", wanted="no augment", got=node.modality)
    return (lambda sample, rng, _: sample), None


def side_of(preprocess: Mapping[str, Any]) -> int:
    """Pixels: side of the square that comes out of a camera's preprocessing; ImageBind's where nothing is said."""
    return int(preprocess.get("size", 224))


def lasts(sample: Any, node: Node) -> bool:
    """Whether a sample goes on for a while: a video, a movement, a sound."""
    return node.modality in ("imu", "audio") or isinstance(sample, Video) or videos.is_read(sample)


def _camera(node: Node) -> tuple[Bend, Cropping]:
    side = ENOUGH * side_of(node.preprocess)
    if node.modality == "depth":
        far: DepthAugment = from_table(DepthAugment, node.augment, where="recipe", prefix="augment.")
        return _Eye(DepthCamera(far, _optics(node), side).measure, far, node.video), far
    how: PictureAugment = from_table(PictureAugment, node.augment, where="recipe", prefix="augment.")
    for name in UNPHYSICAL.get(node.modality, ()):
        if getattr(how, name):
            what = f"augment.{name} makes no sense of {node.modality}"
            raise OptionError(what, where="recipe", wanted="0, or left out")
    return _Eye(Camera(how, side).see, how, node.video), how


def _optics(node: Node) -> DepthPreprocessor:
    # A tower that brings its own preprocessing may leave the node's empty, or with no more than a size.
    built = preprocess.build(node.preprocess) if "kind" in node.preprocess else DepthPreprocessor()
    return built if isinstance(built, DepthPreprocessor) else DepthPreprocessor()


@dataclass(frozen=True)
class _Eye:
    """A camera, or a video of it: what one frame goes through all others do, since its camera has one setting and one place."""

    see: Callable[[Frame, np.random.Generator, Geometry | None], Frame]
    how: Cropping
    video: Sampling

    def __call__(self, sample: Any, rng: np.random.Generator, beside: Together) -> Any:
        if isinstance(sample, Video):
            clip = sample if sample.stop is not None else sample.anywhere(self.video, rng)
            sample = clip.read(self.video)
        if not videos.is_read(sample):
            return self.see(sample, rng, beside.where)
        where, seed = beside.where or draw_geometry(self.how, rng), int(rng.integers(2**63))
        frames = sample.reshape(-1, *sample.shape[2:])
        seen = np.stack([self.see(frame, np.random.default_rng(seed), where) for frame in frames])
        return seen.reshape(*sample.shape[:2], *seen.shape[1:])


def _carry(window: NDArray[Any], how: imu.Augment, rng: np.random.Generator) -> NDArray[Any]:
    """(6, length) m/s² and rad/s -> the same movement felt by a sensor mounted otherwise."""
    carriers = np.zeros(1, np.int64)
    turn = imu.mountings(carriers, how, rng)
    moved = imu.turned(imu.warped(window[None].astype(np.float64), how.warp, rng), turn)
    return imu.silence(imu.disturb(moved, carriers, how, rng).astype(np.float32), how.lost, rng)[0]
