"""ImageNet-1K, Places365, Kinetics-400 and MSR-VTT: which picture is of which class, which caption of which video."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from edgebind.errors import RecordingError
from edgebind.evaluate.datasets import open_dataset, places365
from edgebind.preprocess.videos import Sampling, Video
from tests.evaluate.datasets import made, trees

# --- ImageNet-1K ------------------------------------------------------------------------------------------------------


def flat(root: Path) -> None:
    """The pictures as Kaggle and image-net.org ship them: all in one folder."""
    trees.imagenet1k(root)
    for path in (root / "val").glob("*/*.JPEG"):
        path.rename(root / "val" / path.name)
    for folder in trees.SYNSETS:
        (root / "val" / folder).rmdir()


def devkit(root: Path) -> None:
    """Two parents stand after the classes, as in the devkit; its numbers are not WordNet's order."""
    (root / "LOC_synset_mapping.txt").unlink()
    folder = root / "ILSVRC2012_devkit_t12/data"
    folder.mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    entries = [(3 - at, number, words, 0) for at, (number, words) in enumerate(trees.SYNSETS.items())]
    entries.append((4, "n00001740", "entity", 3))
    savemat(folder / "meta.mat", {"synsets": np.array(entries, dtype=kinds)})
    made.text(folder / "ILSVRC2012_validation_ground_truth.txt", "3\n2\n1\n1\n")


def test_classes_of_imagenet_are_in_wordnets_order(tmp_path: Path) -> None:
    trees.imagenet1k(tmp_path)
    (task,) = open_dataset(f"imagenet1k:{tmp_path}").classifications
    assert task.classes == ("tench", "crane (n02012849)", "crane (n03126707)")
    assert task.targets == ((0,), (1,), (2,), (2,))
    assert task.clips[3].name == "val/n03126707/ILSVRC2012_val_00000004.JPEG"
    assert "a photo of a crane." in task.prompts[2]


@pytest.mark.parametrize("layout", ["folders", "solution", "devkit"])
def test_three_layouts_of_imagenet_say_the_same(layout: str, tmp_path: Path) -> None:
    (flat if layout != "folders" else trees.imagenet1k)(tmp_path)
    if layout == "solution":
        rows = [(f"ILSVRC2012_val_{at:08d}", f"{n} 85 1 499 272 ") for at, n in enumerate(trees.SYNSETS, start=1)]
        rows.append(("ILSVRC2012_val_00000004", "n03126707 1 1 2 2 n03126707 3 3 4 4"))
        made.table(tmp_path / "LOC_val_solution.csv", ("ImageId", "PredictionString"), rows)
    if layout == "devkit":
        devkit(tmp_path)
    (task,) = open_dataset(f"imagenet1k:{tmp_path}").classifications
    assert task.classes == ("tench", "crane (n02012849)", "crane (n03126707)")
    assert task.targets == ((0,), (1,), (2,), (2,))
    made.goes_through(task.clips[0], "vision")


def test_pictures_in_one_folder_need_a_list_of_their_classes(tmp_path: Path) -> None:
    flat(tmp_path)
    with pytest.raises(RecordingError, match=r"wanted LOC_val_solution\.csv or ILSVRC2012_devkit"):
        open_dataset(f"imagenet1k:{tmp_path}")


def test_names_of_the_users_own_replace_wordnets(tmp_path: Path) -> None:
    trees.imagenet1k(tmp_path)
    made.text(tmp_path / "classnames.txt", "tench\ncrane bird\nconstruction crane\n")
    dataset = open_dataset(f"imagenet1k:{tmp_path}")
    assert dataset.classifications[0].classes == ("tench", "crane bird", "construction crane")
    assert dataset.notes["class names"] == "classnames.txt"
    made.text(tmp_path / "classnames.txt", "tench\n")
    with pytest.raises(RecordingError, match=r"classnames\.txt: another number of names \(wanted 3, got 1\)"):
        open_dataset(f"imagenet1k:{tmp_path}")


def test_a_folder_that_is_no_class_is_refused(tmp_path: Path) -> None:
    trees.imagenet1k(tmp_path)
    (tmp_path / "val/n01440764").rename(tmp_path / "val/cats")
    with pytest.raises(RecordingError, match=r"unknown class .*got cats"):
        open_dataset(f"imagenet1k:{tmp_path}")


# --- Places365 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "said"),
    [
        ("/a/airfield", "airfield"),
        ("/a/apartment_building/outdoor", "outdoor apartment building"),
        ("/t/temple/asia", "temple asia"),
        ("/f/field/wild", "wild field"),
    ],
)
def test_categories_are_said_in_english(category: str, said: str) -> None:
    assert places365.spoken(category) == said


def test_numbers_of_places_point_into_its_categories(tmp_path: Path) -> None:
    trees.places365(tmp_path)
    (task,) = open_dataset(f"places365:{tmp_path}").classifications
    assert task.classes == ("airfield", "outdoor apartment building", "temple asia")
    assert task.targets == ((2,), (1,))
    made.text(tmp_path / "places365_val.txt", "Places365_val_00000001.jpg 3\n")
    with pytest.raises(RecordingError, match=r"unknown class \(wanted 0 to 2, got 3\)"):
        open_dataset(f"places365:{tmp_path}")


# --- Kinetics-400 and MSR-VTT -----------------------------------------------------------------------------------------


def test_a_video_of_kinetics_is_read_when_it_is_looked_at(tmp_path: Path) -> None:
    trees.kinetics400(tmp_path)
    (task,) = open_dataset(f"kinetics400:{tmp_path}").classifications
    assert task.classes == ("abseiling", "air drumming")
    assert task.targets == ((0,), (1,), (0,))
    assert task.clips[1].name == "val/air drumming/3caPS4FHFF8_000036_000046.mp4"
    video = task.clips[0].load()
    assert isinstance(video, Video)
    clips = video.read(Sampling(clips=2, seconds=1.0))
    assert clips.shape == (2, 2, 48, 64, 3)
    assert np.round(clips.mean(axis=(2, 3, 4)) / 10).tolist() == [[0, 10], [10, 19]]  # frame k has level 10 k


def test_mute_videos_of_msrvtt_are_seen_and_not_heard(tmp_path: Path) -> None:
    trees.msrvtt(tmp_path)
    dataset = open_dataset(f"msrvtt:{tmp_path}")
    vision, audio = dataset.pairings
    assert (len(vision.right), len(audio.right)) == (3, 2)
    assert dataset.notes["vision clips"] == "all 3 of the protocol"
    assert dataset.notes["audio clips"].startswith("2 of the protocol's 3")
    # The same names in both, so that an evaluation can add the vectors of what is seen and heard.
    assert {clip.name for clip in audio.right} < {clip.name for clip in vision.right}
    assert audio.left[0].load() == vision.left[0].load() == "a person is connecting something to system"
    assert made.loudest_hertz(made.array(audio.right[1]), 16000) == pytest.approx(500.0, abs=2)


def test_msrvtts_test_list_may_have_its_other_name(tmp_path: Path) -> None:
    trees.msrvtt(tmp_path)
    (tmp_path / "MSRVTT_JSFUSION_test.csv").rename(tmp_path / "msrvtt_test.csv")
    assert len(open_dataset(f"msrvtt:{tmp_path}").pairings[0].pairs) == 3


def test_msrvtts_test_list_may_be_json(tmp_path: Path) -> None:
    trees.msrvtt(tmp_path)
    (tmp_path / "MSRVTT_JSFUSION_test.csv").unlink()
    entries = [{"video": "video7020.mp4", "caption": "a woman"}, {"video": "video9770.mp4", "caption": "a person"}]
    made.text(tmp_path / "msrvtt_test.json", json.dumps(entries))
    (vision, _) = open_dataset(f"msrvtt:{tmp_path}").pairings
    assert [clip.load() for clip in vision.left] == ["a woman", "a person"]
    made.text(tmp_path / "msrvtt_test.json", json.dumps([{"video": "video7020.mp4"}]))
    with pytest.raises(RecordingError, match=r"msrvtt_test\.json: another layout"):
        open_dataset(f"msrvtt:{tmp_path}")


def test_a_video_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    trees.kinetics400(tmp_path)
    path = tmp_path / "val/0wR5jVB-WPk_000417_000427.mp4"
    path.write_bytes(path.read_bytes()[:600])
    shutil.copy(path, tmp_path / "val/unrelated.mp4")
    dataset = open_dataset(f"kinetics400:{tmp_path}")
    assert len(dataset.classifications[0].clips) == 2
    assert "0wR5jVB-WPk" in dataset.notes["clips"]
