"""The thermal task on a small folder in HIT-UAV's layout: what is read, and what no batch may show."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind import preprocess
from edgebind.errors import OptionError, RecordingError
from edgebind.evaluate.datasets.aerial import Thing
from edgebind.signals import Floats
from edgebind.train.data import thermal, thermal_augment
from tests.train.data import aerial
from tests.train.data.aerial import Plan


def test_reads_pictures_boxes_and_what_is_to_be_ignored(plan: Plan) -> None:
    pictures = thermal.read(plan.edge.data[0])
    assert [picture.date for picture in pictures] == [date for date in aerial.DATES for _ in aerial.CONTENTS]
    assert [picture.light for picture in pictures[:2]] == ["day", "night"]
    assert pictures[0].things == (Thing("person", (40, 40, 52, 60)),)
    assert pictures[0].ignored == ((200, 200, 209, 209),)
    assert [thing.label for thing in pictures[2].things] == ["person", "car", "bicycle", "truck"]
    assert pictures[0].image.mode == "L"
    assert pictures[0].image.size == (500, 420)


@pytest.mark.parametrize(
    "damage",
    [
        {"images": []},
        {"images": None},
        {"images": [{"id": 0}]},
        {"categories": [{"name": "Person"}]},
        {"annotations": [{"image_id": 0, "category_id": 0, "bbox": [1, 2, 3]}]},
        {"annotations": [{"image_id": 0, "category_id": 0, "bbox": [1, 2, 3, "wide"]}]},
        {"annotations": [{"image_id": 0, "category_id": 0, "bbox": [1, 2, 0, 4]}]},
        {"annotations": [{"image_id": 0, "category_id": 0, "bbox": [1, math.nan, 3, 4]}]},
        {"annotations": [{"image_id": 99, "category_id": 0, "bbox": [1, 2, 3, 4]}]},
        {"annotations": [{"image_id": 0, "category_id": 7, "bbox": [1, 2, 3, 4]}]},
        {"annotations": [[]]},
    ],
)
def test_bad_annotations_are_one_clear_line(plan: Plan, folder: Path, damage: dict[str, Any]) -> None:
    (folder / "annotations.json").write_text(json.dumps({**aerial.written(), **damage}))
    with pytest.raises(RecordingError, match=r"annotations\.json: ") as caught:
        thermal.read(plan.edge.data[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"images": []}'])
def test_annotations_that_are_none_are_one_clear_line(plan: Plan, folder: Path, text: str) -> None:
    (folder / "annotations.json").write_text(text)
    with pytest.raises(RecordingError, match="no readable HIT-UAV annotations"):
        thermal.read(plan.edge.data[0])


def test_a_folder_without_annotations_is_one_clear_line(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no readable HIT-UAV annotations"):
        thermal.read(replace(plan.edge.data[0], path=str(tmp_path / "nowhere")))


def test_a_missing_picture_is_one_clear_line(plan: Plan, folder: Path) -> None:
    (folder / "images" / "4.png").unlink()
    with pytest.raises(RecordingError, match=r"4\.png"):
        thermal.read(plan.edge.data[0])


def test_a_picture_of_counts_is_one_clear_line(plan: Plan, folder: Path) -> None:
    Image.fromarray(np.full((420, 500), 30_000, np.uint16)).save(folder / "images" / "4.png")
    with pytest.raises(RecordingError, match="a picture is not 8-bit"):
        thermal.read(plan.edge.data[0])


def test_a_reader_or_date_that_does_not_exist_is_one_clear_line(plan: Plan) -> None:
    with pytest.raises(OptionError, match="unknown reader"):
        thermal.read(replace(plan.edge.data[0], reader="coco"))
    with pytest.raises(OptionError, match="a held-out group is not in the data"):
        thermal.read(replace(plan.edge.data[0], folds=(("19990101",),)))


def test_a_batch_has_every_class_and_is_what_the_tower_reads(plan: Plan) -> None:
    batch = plan.batch(200)
    inputs, labels = batch.inputs, batch.labels
    assert inputs.shape == (200, 1, 64, 64)
    assert inputs.dtype.is_floating_point
    assert inputs.isfinite().all()
    assert inputs.abs().max() <= 3
    counts = np.bincount(labels.numpy(), minlength=9) / 200
    shares = np.array([prompts.share for prompts in plan.edge.prompts])
    np.testing.assert_allclose(counts, shares / shares.sum(), atol=0.1)


def test_a_batch_depends_on_the_seed_alone(plan: Plan) -> None:
    first, again, other = (plan.batch(24, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.inputs.numpy(), again.inputs.numpy())
    np.testing.assert_array_equal(first.labels.numpy(), again.labels.numpy())
    assert not np.array_equal(first.inputs.numpy(), other.inputs.numpy())


def test_a_batch_does_not_depend_on_the_batches_before(plan: Plan) -> None:
    task = plan.task(None)
    task.batch(7, np.random.default_rng(5))
    np.testing.assert_array_equal(task.batch(9, np.random.default_rng(0)).inputs, plan.batch(9).inputs)


def test_no_batch_shows_a_held_out_date(plan: Plan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Held-out pictures are black and the others white, and nothing that a camera does follows.
    for entry in aerial.written()["images"]:
        white = entry["date_captured"] != aerial.DATES[1]
        Image.new("L", (500, 420), 255 if white else 0).save(folder / "images" / entry["filename"])
    monkeypatch.setattr(thermal_augment.Camera, "see", lambda self, patch, **_: patch)
    seen: list[float] = []
    task = plan.augmented({}).task(1)

    def note(patch: Floats) -> Floats:
        seen.append(float(patch.mean()))
        return np.zeros((1, 64, 64), np.float32)

    monkeypatch.setattr(task, "_preprocess", note)
    for seed in range(4):
        task.batch(100, np.random.default_rng(seed))
    assert min(seen) > 0.99
    seen.clear()
    held = {held.variant: held for held in task.held_out()}
    assert max(seen) < 0.01
    assert held["margin 0.25"].inputs.shape == (8, 1, 64, 64)


def test_held_out_items_are_cut_as_a_user_would(plan: Plan) -> None:
    task = plan.task(0)
    held = {held.variant: held for held in task.held_out()}
    assert list(held) == [*thermal.STYLES, "whole frame", "quarter frame"]
    names = [prompts.label for prompts in plan.edge.prompts]
    boxes = ["person", "car", "bicycle", "truck", "person", "car", "bicycle", "truck"]
    assert [names[at] for at in held["margin 0"].labels] == boxes
    frames = ["scene of people", "scene of vehicles", "scene of both"]
    assert [names[at] for at in held["whole frame"].labels] == frames
    # All boxes lie in the upper left quarter, so the other three are empty.
    quarters = [name for frame in frames for name in (frame, *["empty scene"] * 3)]
    assert [names[at] for at in held["quarter frame"].labels] == quarters
    # The runtime would preprocess the 8-bit frame itself, and come to the same but for Pillow's rounding.
    frame = np.asarray(thermal.read(plan.edge.data[0])[0].image)
    np.testing.assert_allclose(held["whole frame"].inputs[0], preprocess.build(plan.node.preprocess)(frame), atol=0.06)


def test_nothing_is_held_out_of_the_final_tower(plan: Plan) -> None:
    assert plan.task(None).held_out() == []


def test_a_class_without_data_is_one_clear_line(plan: Plan) -> None:
    train = replace(plan.edge.prompts[0], label="train")
    with pytest.raises(OptionError, match="class 'train' has no training data"):
        replace(plan, edge=replace(plan.edge, prompts=(*plan.edge.prompts, train))).task(None)


def test_another_modality_s_preprocessing_is_one_clear_line(plan: Plan) -> None:
    with pytest.raises(OptionError, match=r"preprocess\.kind does not fit the modality"):
        replace(plan, node=replace(plan.node, preprocess={"kind": "imu"})).task(None)


def test_pictures_without_room_are_one_clear_line(plan: Plan, folder: Path) -> None:
    table = aerial.written()
    everywhere = [{"id": 1000 + at, "image_id": at, "category_id": 4, "bbox": [0, 0, 500, 420]} for at in range(9)]
    (folder / "annotations.json").write_text(json.dumps({**table, "annotations": table["annotations"] + everywhere}))
    with pytest.raises(RecordingError, match="no picture has 80 x 80 pixels of empty ground"):
        plan.task(None)
