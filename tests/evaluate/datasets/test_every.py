"""What holds for every data set: its layout opens, its clips load, its published numbers are the literature's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from edgebind.errors import OptionError, RecordingError
from edgebind.evaluate.dataset import Dataset, Published
from edgebind.evaluate.datasets import ADAPTERS, open_dataset
from tests.evaluate.datasets import made
from tests.evaluate.datasets.trees import TREES

GUIDE = Path(__file__).resolve().parents[3] / "how-to" / "datasets.md"

# Random, best with paired text, ImageBind, best supervised: table 1 to 4 of Girdhar et al. 2023, percent.
ZERO_SHOT = {
    "imagenet1k": (0.1, None, 77.7, 91.0),
    "places365": (0.27, None, 45.4, 60.7),
    "kinetics400": (0.25, None, 50.0, 89.9),
    "nyuv2": (10.0, 41.9, 54.0, 76.7),
    "sunrgbd": (5.26, 25.4, 35.1, 64.9),
    "audioset": (0.62, 28.4, 17.6, 49.6),
    "vggsound": (0.32, None, 27.8, 52.5),
    "esc50": (2.75, 68.6, 66.9, 97.0),
    "llvip": (50.0, None, 63.4, None),
    "ego4d": (0.9, None, 25.0, None),
}
RETRIEVAL = {
    ("clotho", "audio"): {"recall@1": 6.0, "recall@10": 28.4},
    ("audiocaps", "audio"): {"recall@1": 9.3, "recall@10": 42.3},
    ("msrvtt", "audio"): {"recall@1": 6.8, "recall@5": 18.5, "recall@10": 27.2},
    ("msrvtt", "vision"): {
        "recall@1": 36.1,
        "recall@1 audio+vision": 36.8,
        "recall@5 audio+vision": 61.8,
        "recall@10 audio+vision": 70.0,
    },
}
TABLES = {
    # What describes the data set; and a title of it that the adapter needs, None where it has none.
    "audiocaps": ("test.csv", "youtube_id"),
    "audioset": ("class_labels_indices.csv", "display_name"),
    "clotho": ("clotho_captions_evaluation.csv", "caption_3"),
    "ego4d": ("ego4d.json", "video_uid"),
    "esc50": ("meta/esc50.csv", "category"),
    "imagenet1k": ("LOC_synset_mapping.txt", None),
    "kinetics400": ("annotations/val.csv", "time_start"),
    "llvip": ("infrared/test", None),
    "msrvtt": ("MSRVTT_JSFUSION_test.csv", "sentence"),
    "nyuv2": ("nyu_depth_v2_labeled.mat", None),
    "places365": ("categories_places365.txt", None),
    "sunrgbd": ("SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat", None),
    "vggsound": ("vggsound.csv", None),
}
ONE_CLIP = {
    # A file of the default split, and the note that counts it.
    "audiocaps": ("test/vfY_TJq7n_U.wav", "clips"),
    "audioset": ("eval_segments/Y--4gqARaEJE.wav", "clips"),
    "clotho": ("evaluation/Santa Motor.wav", "clips"),
    "ego4d": ("v2/imu/ccc.csv", "videos"),
    "esc50": ("audio/5-9032-A-0.wav", "clips"),
    "kinetics400": ("val/3yaoNwz99xM_000062_000072.mp4", "clips"),
    "llvip": ("Annotations/200007.xml", "pictures"),
    "msrvtt": ("videos/all/video9771.mp4", "vision clips"),
    "places365": ("val_256/Places365_val_00000002.jpg", "clips"),
    "sunrgbd": ("SUNRGBD/kv1/NYUdata/NYU0001/depth_bfx/a.png", "clips"),
    "vggsound": ("audio/-1UWOMlEbxU_000012.wav", "clips"),
}
LABELLED_RECORDINGS = {"spsw", "borealtc", "hapt", "hituav"}
"""Of no published protocol: test_motion.py and test_aerial.py have them."""


def opened(name: str, root: Path) -> Dataset:
    TREES[name](root)
    return open_dataset(f"{name}:{root}")


def test_every_data_set_is_tested() -> None:
    benchmarks = set(ADAPTERS) - LABELLED_RECORDINGS
    assert set(TREES) == benchmarks == set(TABLES)
    assert set(ZERO_SHOT) | {name for name, _ in RETRIEVAL} == benchmarks


@pytest.mark.parametrize("name", TREES)
def test_every_clip_goes_through_its_preprocessor(name: str, tmp_path: Path) -> None:
    dataset = opened(name, tmp_path)
    assert dataset.name == ADAPTERS[name].title
    assert dataset.classifications or dataset.pairings
    assert dataset.notes["licence"] and dataset.notes["split"] == ADAPTERS[name].splits[0]
    for task in dataset.classifications:
        made.holds_together(task)
        for clip in task.clips[:6]:
            made.goes_through(clip, task.modality)
    for pairing in dataset.pairings:
        made.belongs_together(pairing)
        made.goes_through(pairing.left[0], pairing.left_modality)
        made.goes_through(pairing.right[-1], pairing.right_modality)


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_published_numbers_of_recognition(name: str, tmp_path: Path) -> None:
    task, *seen = opened(name, tmp_path).classifications
    metric = "map" if name == "audioset" else "top1"
    assert task.metric == metric
    assert task.published == (Published(metric, *ZERO_SHOT[name]),)
    assert not any(other.published for other in seen)


@pytest.mark.parametrize(("name", "modality"), RETRIEVAL)
def test_published_numbers_of_retrieval(name: str, modality: str, tmp_path: Path) -> None:
    (pairing,) = (each for each in opened(name, tmp_path).pairings if each.right_modality == modality)
    assert pairing.left_modality == "text"
    assert {each.metric: each.imagebind for each in pairing.published} == RETRIEVAL[name, modality]


def test_msrvtt_has_a_number_of_the_supervised_too(tmp_path: Path) -> None:
    (vision, _) = opened("msrvtt", tmp_path).pairings
    assert vision.published[0] == Published("recall@1", random=0.1, imagebind=36.1, supervised=57.7)


@pytest.mark.parametrize("name", TREES)
def test_the_guide_tells_where_files_go_and_what_is_published(name: str) -> None:
    rows = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    assert Path(TABLES[name][0]).name in rows[0] or TABLES[name][0] in rows[0]
    assert all(f"@{split}" in rows[0] for split in ADAPTERS[name].splits[1:] if not split.startswith("fold"))
    numbers = {number for row in rows[1:] for number in re.findall(r"[0-9]+\.[0-9]+", row)}
    expected = [number for number in ZERO_SHOT.get(name, ()) if number is not None]
    expected += [number for key, each in RETRIEVAL.items() if key[0] == name for number in each.values()]
    assert {str(number) for number in expected} <= numbers


@pytest.mark.parametrize("name", TREES)
def test_without_its_table_it_is_not_in_its_layout(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    table = tmp_path / TABLES[name][0]
    shutil.rmtree(table) if table.is_dir() else table.unlink()
    line = refused(name, tmp_path)
    assert Path(TABLES[name][0]).name in line


@pytest.mark.parametrize("name", [name for name in TREES if TABLES[name][1]])
def test_a_changed_header_is_one_clear_line(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    file, title = TABLES[name]
    assert title
    table = tmp_path / file
    table.write_text(table.read_text().replace(title, "renamed", 1))
    line = refused(name, tmp_path)
    assert table.name in line and title in line and "wanted" in line


@pytest.mark.parametrize("name", [name for name in TREES if name != "llvip"])
def test_bytes_instead_of_a_table_are_one_clear_line(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    (tmp_path / TABLES[name][0]).write_bytes(bytes(range(128, 256)) * 20)
    assert Path(TABLES[name][0]).name in refused(name, tmp_path)


@pytest.mark.parametrize("name", ONE_CLIP)
@pytest.mark.parametrize("is_empty", [False, True])
def test_an_absent_clip_is_counted_and_the_others_are_used(name: str, is_empty: bool, tmp_path: Path) -> None:
    whole = opened(name, tmp_path)
    file, note = ONE_CLIP[name]
    assert whole.notes[note].startswith("all ")
    (tmp_path / file).unlink()
    if is_empty:
        (tmp_path / file).touch()
    rest = open_dataset(f"{name}:{tmp_path}")
    assert "absent or cannot be read" in rest.notes[note]
    assert size(rest) < size(whole)
    assert all(clip.load() is not None for task in rest.classifications for clip in task.clips)


@pytest.mark.parametrize("name", [name for name in ONE_CLIP if name != "llvip"])
def test_no_clip_at_all_is_refused(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    for path in tmp_path.rglob("*"):
        if path.suffix in (".wav", ".mp4", ".jpg", ".png") or path.parent.name == "imu":
            path.unlink()
    assert "none of the data set's clips" in refused(name, tmp_path)


def size(dataset: Dataset) -> int:
    tasks = sum(len(task.clips) for task in dataset.classifications)
    return tasks + sum(len(pairing.right) for pairing in dataset.pairings)


def refused(name: str, root: Path) -> str:
    with pytest.raises((RecordingError, OptionError)) as caught:
        open_dataset(f"{name}:{root}")
    line = str(caught.value)
    assert "\n" not in line and str(root) in line
    assert caught.value.wanted or caught.value.remedy
    return line
