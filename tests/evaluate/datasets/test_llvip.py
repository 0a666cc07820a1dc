"""LLVIP: people and background of the same sizes, pairs of thermal and visible pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.evaluate.datasets import open_dataset
from tests.evaluate.datasets import made, trees

PEOPLE = {(100, 80, 130, 160), (200, 90, 240, 190)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.llvip(tmp_path)
    return tmp_path


def test_people_are_bright_and_background_is_not(root: Path) -> None:
    dataset = open_dataset(f"llvip:{root}")
    (task,) = dataset.classifications
    assert task.classes == ("person", "background")
    assert [target for (target,) in task.targets] == [0, 0, 1, 1] * 2
    for clip, (target,) in zip(task.clips, task.targets, strict=True):
        level = float(made.array(clip).mean())
        assert level > 200 if target == 0 else level < 30
    assert dataset.notes["crops"].startswith("4 of people and 4 of background")


def test_background_has_the_sizes_of_the_people(root: Path) -> None:
    (task,) = open_dataset(f"llvip:{root}").classifications
    sizes = [made.array(clip).shape[:2] for clip in task.clips]
    assert sizes == [(80, 30), (100, 40)] * 4


def test_everybody_gets_the_same_background_wherever_the_data_lies(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy")
    first, second = (open_dataset(f"llvip:{at}").classifications[0] for at in (root, tmp_path / "copy"))
    assert [clip.name for clip in first.clips] == [clip.name for clip in second.clips]
    places = {clip.name.split("#")[1] for clip in first.clips}
    assert {",".join(map(str, box)) for box in PEOPLE} < places
    assert len(places) == 6  # the two people stand alike in both pictures, the background is drawn for each


def test_a_name_that_is_no_utf8_can_be_said(root: Path) -> None:
    odd = os.fsdecode(b"19\xe9")
    for folder, suffix in (("infrared/test", "jpg"), ("visible/test", "jpg"), ("Annotations", "xml")):
        shutil.copyfile(root / folder / f"190001.{suffix}", root / folder / f"{odd}.{suffix}")
    (task,) = open_dataset(f"llvip:{root}").classifications
    (name,) = {clip.name.split("#")[0] for clip in task.clips} - {f"infrared/test/{n}.jpg" for n in (190001, 200007)}
    assert name == r"infrared/test/19\udce9.jpg"


def test_a_person_everywhere_leaves_no_background(root: Path) -> None:
    annotation = root / "Annotations/190001.xml"
    annotation.write_text(annotation.read_text().replace("<xmin>100</xmin>", "<xmin>0</xmin>").replace("130", "320"))
    (task,) = open_dataset(f"llvip:{root}").classifications
    here = [target for clip, (target,) in zip(task.clips, task.targets, strict=True) if "190001" in clip.name]
    assert here.count(0) == 2
    assert here.count(1) <= 1


def test_groups_are_places(root: Path) -> None:
    (task,) = open_dataset(f"llvip:{root}").classifications
    assert task.groups == ("19",) * 4 + ("20",) * 4


def test_pairs_are_the_two_views_of_one_moment(root: Path) -> None:
    (pairing,) = open_dataset(f"llvip:{root}").pairings
    assert (pairing.left_modality, pairing.right_modality) == ("thermal", "vision")
    assert [clip.name for clip in pairing.left] == ["infrared/test/190001.jpg", "infrared/test/200007.jpg"]
    assert [clip.name for clip in pairing.right] == ["visible/test/190001.jpg", "visible/test/200007.jpg"]
    shutil.rmtree(root / "visible")
    assert open_dataset(f"llvip:{root}").pairings == ()


def test_the_other_split_has_no_published_number(root: Path) -> None:
    (task,) = open_dataset(f"llvip@train:{root}").classifications
    assert len(task.clips) == 4
    assert task.published == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("<width>320</width>", ""), "no readable annotation: size/width is missing"),
        (("<xmin>100</xmin>", "<xmin>left</xmin>"), "no readable annotation"),
        (("</annotation>", ""), "no readable annotation"),
    ],
)
def test_a_damaged_annotation_is_one_clear_line(root: Path, change: tuple[str, str], says: str) -> None:
    annotation = root / "Annotations/200007.xml"
    annotation.write_text(annotation.read_text().replace(*change))
    with pytest.raises(RecordingError) as caught:
        open_dataset(f"llvip:{root}")
    assert str(annotation) in str(caught.value) and says in str(caught.value)


def test_a_picture_smaller_than_annotated_is_refused_when_it_is_loaded(root: Path) -> None:
    made.picture(root / "infrared/test/190001.jpg", np.zeros((100, 100, 3), np.uint8))
    (task,) = open_dataset(f"llvip:{root}").classifications
    with pytest.raises(RecordingError, match=r"smaller than annotated .*got 100 x 100"):
        task.clips[0].load()


def test_real_pictures_of_the_set_load(shared: Path, tmp_path: Path) -> None:
    """Real pairs under a made annotation: their own boxes were not published with these excerpts."""
    for kind, folder in (("ir", "infrared"), ("vi", "visible")):
        (tmp_path / folder / "test").mkdir(parents=True)
        shutil.copy(shared / "data/thermal_llvip" / kind / "010001.jpg", tmp_path / folder / "test")
    xml = trees.LLVIP_XML.format(name="010001").replace("320", "1280").replace("256", "1024")
    made.text(tmp_path / "Annotations/010001.xml", xml)
    dataset = open_dataset(f"llvip:{tmp_path}")
    for clip in dataset.classifications[0].clips:
        thermal = made.goes_through(clip, "thermal")
        assert 0 <= thermal.min() <= thermal.max() <= 1
    (pairing,) = dataset.pairings
    assert made.array(pairing.left[0]).shape[:2] == made.array(pairing.right[0]).shape[:2] == (1024, 1280)
    assert made.goes_through(pairing.left[0], "thermal").std() > 0.05
    made.goes_through(pairing.right[0], "vision")
