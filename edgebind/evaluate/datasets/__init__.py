"""Public data sets in the layout they are published in, one file each, by the name they have on the command line.

    esc50:FOLDER          the data set in FOLDER, by its own protocol
    esc50@fold1:FOLDER    another of its splits

Nothing is downloaded. A clip that the folder lacks is left out and counted in `Dataset.notes`; a folder without any is
refused. See how-to/datasets.md for what each folder must hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgebind.errors import OptionError, RecordingError
from edgebind.evaluate.dataset import Dataset
from edgebind.evaluate.datasets import (
    aerial,
    audiocaps,
    audioset,
    clotho,
    ego4d,
    esc50,
    imagenet1k,
    kinetics400,
    llvip,
    motion,
    msrvtt,
    nyuv2,
    places365,
    sunrgbd,
    vggsound,
)

__all__ = ["ADAPTERS", "Adapter", "open_dataset"]


class Opener(Protocol):
    """Reads one data set's published layout."""

    def __call__(self, root: Path, split: str) -> Dataset:
        """The data set below `root`; RecordingError when it is not in its layout or holds none of its clips."""
        ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """One data set that can be opened."""

    title: str
    """As the literature calls it."""
    open: Opener
    splits: tuple[str, ...]
    """The first is the one its published numbers are of."""

    def written(self, name: str) -> str:
        """How it is said on the command line: `esc50[@all|fold1]:FOLDER`."""
        return f"{name}[@{'|'.join(self.splits)}]:FOLDER" if len(self.splits) > 1 else f"{name}:FOLDER"


ADAPTERS: dict[str, Adapter] = {
    "audiocaps": Adapter("AudioCaps", audiocaps.open, audiocaps.SPLITS),
    "audioset": Adapter("AudioSet", audioset.open, audioset.SPLITS),
    "borealtc": Adapter("BorealTC", motion.open_borealtc, motion.BOREALTC_SPLITS),
    "clotho": Adapter("Clotho", clotho.open, clotho.SPLITS),
    "ego4d": Adapter("Ego4D", ego4d.open, ego4d.SPLITS),
    "esc50": Adapter("ESC-50", esc50.open, esc50.SPLITS),
    "hapt": Adapter("HAPT", motion.open_hapt, motion.HAPT_SPLITS),
    "hituav": Adapter("HIT-UAV", aerial.open_hituav, tuple(aerial.SPLITS)),
    "imagenet1k": Adapter("ImageNet-1K", imagenet1k.open, imagenet1k.SPLITS),
    "kinetics400": Adapter("Kinetics-400", kinetics400.open, kinetics400.SPLITS),
    "llvip": Adapter("LLVIP", llvip.open, llvip.SPLITS),
    "msrvtt": Adapter("MSR-VTT", msrvtt.open, msrvtt.SPLITS),
    "nyuv2": Adapter("NYU-v2", nyuv2.open, nyuv2.SPLITS),
    "places365": Adapter("Places365", places365.open, places365.SPLITS),
    "spsw": Adapter("SP-SW-HAR", motion.open_spsw, motion.SPSW_SPLITS),
    "sunrgbd": Adapter("SUN RGB-D", sunrgbd.open, sunrgbd.SPLITS),
    "vggsound": Adapter("VGGSound", vggsound.open, vggsound.SPLITS),
}


def open_dataset(spec: str) -> Dataset:
    """The data set that `spec` names: `NAME:FOLDER` or `NAME@SPLIT:FOLDER`.

    Raises
    ------
    OptionError: no such data set, split or folder.
    RecordingError: the folder is not in the data set's layout, or holds none of its clips.
    """
    label, _, folder = spec.partition(":")
    name, at, split = label.partition("@")
    adapter = ADAPTERS.get(name)
    if adapter is None:
        raise OptionError("unknown data set", wanted=f"NAME:FOLDER with {' or '.join(ADAPTERS)}", got=repr(spec))
    if not folder:
        raise OptionError("no folder is named", wanted=adapter.written(name), got=repr(spec))
    if at and split not in adapter.splits:
        raise OptionError("unknown split", where=name, wanted=" or ".join(adapter.splits), got=repr(split))
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise OptionError("no such folder", where=root, wanted=f"the folder of {adapter.title}")
    dataset = adapter.open(root, split or adapter.splits[0])
    for task in dataset.classifications:
        if not task.judged:
            raise RecordingError("holds clips to learn from and none to judge", where=root, wanted=f"those of {spec}")
    return dataset
