"""MSR-VTT (Xu et al. 2016), the 1k-A test split of Yu et al. 2018: 1000 videos, one caption each.

MSRVTT/
  MSRVTT_JSFUSION_test.csv    key,vid_key,video_id,sentence; also as msrvtt_test.csv
  or msrvtt_test.json         [{"video": "video7020.mp4", "caption": "..."}, ...]
  ...                         video7020.mp4, ... anywhere below the root
"""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath

from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Dataset, Pairing, Published
from edgebind.evaluate.datasets import captions, downloads, layout

SPLITS = ("1k-A",)
LISTS = ("MSRVTT_JSFUSION_test.csv", "msrvtt_test.csv", "msrvtt_ret_test1k.json", "msrvtt_test.json")
PUBLISHED = {
    "audio": (
        Published("recall@1", imagebind=6.8),
        Published("recall@5", imagebind=18.5),
        Published("recall@10", imagebind=27.2),
    ),
    "vision": (
        Published("recall@1", random=0.1, imagebind=36.1, supervised=57.7),
        Published("recall@1 audio+vision", imagebind=36.8),
        Published("recall@5 audio+vision", imagebind=61.8),
        Published("recall@10 audio+vision", imagebind=70.0),
    ),
}


def open(root: Path, split: str = "1k-A") -> Dataset:
    """Captions against sounds and against pictures; the same clip has the same name in both, so they can be added.

    Raises
    ------
    RecordingError: another layout, or no video at all.
    MissingDependencyError: PyAV is not installed.
    """
    listed = _described(layout.first_that_exists(root, *LISTS), root)
    notes = {"split": split, "protocol": "text to video; the published sum has 0.95 of the video: --share 0.95"}
    pairings: list[Pairing] = []
    for modality, kind in (("vision", "video"), ("audio", "audio")):
        found, said = layout.present(listed, lambda item: item.path, root, partial(downloads.readable, kind=kind))
        notes[f"{modality} clips"] = said["clips"]
        pairings.append(captions.pairing(f"MSR-VTT {split} {modality}", modality, root, found, PUBLISHED[modality]))
    return Dataset("MSR-VTT", pairings=tuple(pairings), notes={**notes, "licence": "research use only (Microsoft)"})


def _described(path: Path, root: Path) -> list[captions.Described]:
    files = downloads.Downloads(root, downloads.VIDEO)
    sentences = _from_json(path) if path.suffix == ".json" else _from_csv(path)
    return [captions.Described(files.named(name), (sentence,)) for name, sentence in sentences]


def _from_csv(path: Path) -> list[tuple[str, str]]:
    return [(row["video_id"], row["sentence"]) for row in layout.rows(path, ("video_id", "sentence"))]


def _from_json(path: Path) -> list[tuple[str, str]]:
    try:
        return [(PurePosixPath(entry["video"]).stem, str(entry["caption"])) for entry in layout.tree(path)]
    except (KeyError, TypeError) as error:
        raise RecordingError(
            "another layout", where=path, wanted="a list of entries with video and caption", got=repr(error)
        ) from error
