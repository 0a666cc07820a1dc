"""The thermal task on a small folder in HIT-UAV's layout: what is cut out, what is painted, and what no batch may show."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind import preprocess, starter
from edgebind.errors import OptionError, RecordingError
from edgebind.evaluate.datasets import boxes
from edgebind.evaluate.datasets.aerial import Picture, Thing
from edgebind.signals import Floats
from edgebind.train import recipe
from edgebind.train.data import thermal, thermal_augment, thermal_drawn
from edgebind.train.data.task import Batch
from edgebind.train.recipe import Edge, Node

SHIPPED = Path(starter.__file__).parent / "recipes" / "thermal-teacher.toml"
DATES = ("20210101", "20210102", "20210103")
BOXES = {
    "Person": [40, 40, 12, 20],
    "Car": [200, 60, 40, 24],
    "Bicycle": [60, 160, 24, 12],
    "OtherVehicle": [180, 180, 60, 24],
}
CONTENTS = (("Person",), ("Car", "Bicycle", "OtherVehicle"), tuple(BOXES))
"""Of the three pictures of each date."""
CATEGORIES = [*BOXES, "DontCare"]


def _annotations() -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for at, (date, content) in enumerate((date, content) for date in DATES for content in CONTENTS):
        images.append({"id": at, "filename": f"{at}.png", "date_captured": date, "night": at % 2})
        for name in content:
            boxes.append({"id": len(boxes), "image_id": at, "category_id": CATEGORIES.index(name), "bbox": BOXES[name]})
    boxes.append(
        {"id": len(boxes), "image_id": 0, "category_id": CATEGORIES.index("DontCare"), "bbox": [200, 200, 9, 9]}
    )
    categories = [{"id": at, "name": name} for at, name in enumerate(CATEGORIES)]
    return {"images": images, "categories": categories, "annotations": boxes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    table = _annotations()
    for entry in table["images"]:
        # A ramp of each picture's own slope: no two cuts are equal, and no cut is flat.
        ramp = np.linspace(20, 100 + 10 * entry["id"], 500 * 420).reshape(420, 500)
        Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "images" / entry["filename"])
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    return tmp_path


@dataclass(frozen=True)
class Plan:
    """The shipped recipe's node and edge, on the small folder and with few drawings."""

    node: Node
    edge: Edge

    def task(self, fold: int | None) -> thermal.ThermalTask:
        return thermal.ThermalTask(self.node, self.edge, fold)

    def batch(self, size: int, seed: int = 0, fold: int | None = None) -> Batch:
        return self.task(fold).batch(size, np.random.default_rng(seed))

    def augmented(self, augment: dict[str, Any]) -> Plan:
        return replace(self, node=replace(self.node, augment=augment))

    @property
    def by_size(self) -> Plan:
        """With a preprocessing that says how large a cut is."""
        return replace(self, node=replace(self.node, preprocess={**self.node.preprocess, "resize": "by-size"}))


@pytest.fixture
def plan(folder: Path) -> Plan:
    shipped = recipe.read(SHIPPED)
    node, edge = shipped.nodes["thermal"], shipped.edges[0]
    data = replace(edge.data[0], path=str(folder), folds=tuple((date,) for date in DATES))
    return Plan(replace(node, augment={**node.augment, "drawings": 3}), replace(edge, data=(data,)))


def _picture(*things: Thing, ignored: tuple[boxes.Rect, ...] = ()) -> Picture:
    return Picture("1.png", Image.new("L", (100, 80)), "20210101", "day", things, ignored)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_reads_pictures_boxes_and_what_is_to_be_ignored(plan: Plan) -> None:
    pictures = thermal.read(plan.edge.data[0])
    assert [picture.date for picture in pictures] == [date for date in DATES for _ in CONTENTS]
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
    (folder / "annotations.json").write_text(json.dumps({**_annotations(), **damage}))
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


# --- geometry, worked by hand -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "square", "wanted"),
    [
        (0.0, False, (40, 30, 50, 50)),
        (0.5, False, (35, 20, 55, 60)),  # half of 10 x 20 on each side
        (0.0, True, (35, 30, 55, 50)),  # 20 x 20 about (45, 40)
        (2.0, False, (20, 0, 70, 80)),  # 20 - 50 and 40 + 50 lie beyond the picture's 100 x 80
    ],
)
def test_a_box_is_expanded_and_cut_off_at_the_edge(margin: float, square: bool, wanted: boxes.Rect) -> None:
    assert boxes.expanded((40, 30, 50, 50), margin, square, (100, 80)) == pytest.approx(wanted)


def test_a_box_of_a_pixel_is_cut_as_three() -> None:
    assert boxes.expanded((10, 10, 11, 11), 0.0, False, (100, 80)) == (9, 9, 12, 12)


def test_no_turn_leaves_the_box_where_it_was() -> None:
    pixels = np.arange(80 * 100, dtype=np.uint32).reshape(80, 100).astype(np.uint8)
    image, box = thermal_augment.rotate(Image.fromarray(pixels), (40, 30, 50, 50), 0.0, margin=0.0)
    # The longer side of 20 asks for ceil(20 * 0.5 * 1.5) + 3 = 18 pixels about (45, 40).
    assert image.size == (36, 36)
    assert box == pytest.approx((13, 8, 23, 28))
    np.testing.assert_array_equal(np.asarray(image), pixels[22:58, 27:63])


def test_a_quarter_turn_exchanges_the_sides_as_far_as_things_fill_their_corners() -> None:
    _, box = thermal_augment.rotate(Image.new("L", (100, 80)), (40, 30, 50, 50), 90.0, margin=0.0)
    assert boxes.size_of(box) == pytest.approx((0.6 * 20, 0.6 * 10))


def test_a_turn_at_the_edge_repeats_the_edge() -> None:
    image, _ = thermal_augment.rotate(Image.new("L", (100, 80), 77), (0, 0, 10, 20), 0.0, margin=1.0)
    assert np.unique(np.asarray(image)).tolist() == [77]


def test_tiles_cover_a_picture() -> None:
    assert boxes.tiles((100, 80), 1) == [(0, 0, 100, 80)]
    assert boxes.tiles((100, 80), 2) == [(0, 0, 50, 40), (50, 0, 100, 40), (0, 40, 50, 80), (50, 40, 100, 80)]


def test_a_scene_shows_what_lies_half_inside_it() -> None:
    #   0        10        20        30
    #   |        person    |                 half of it lies left of 15
    #   |                  car       |       less than half of it lies left of 24
    picture = _picture(Thing("person", (10, 0, 20, 10)), Thing("car", (20, 0, 30, 10)))
    assert picture.shows((0, 0, 14, 80)) == (False, False)
    assert picture.shows((0, 0, 15, 80)) == (True, False)
    assert picture.shows((0, 0, 24, 80)) == (True, False)
    assert picture.shows((0, 0, 25, 80)) == (True, True)
    assert picture.shows((16, 0, 40, 80)) == (False, True)


def test_a_place_is_free_until_a_box_reaches_into_it() -> None:
    picture = _picture(Thing("person", (10, 10, 20, 20)), ignored=((40, 40, 50, 50),))
    assert picture.is_free((20, 10, 40, 40)), "edges may touch"
    assert not picture.is_free((19, 10, 40, 40))
    assert not picture.is_free((30, 30, 41, 41)), "what nobody could name is no empty ground"
    assert not picture.is_free((12, 12, 13, 13)), "inside a box"


# --- what is drawn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", list(thermal_drawn.DRAWERS))
def test_what_is_drawn_lies_in_its_box(label: str) -> None:
    drawer = thermal_drawn.DRAWERS[label]
    ground = Image.new("L", (drawer.side, drawer.side), 128)
    inside, outside, drawn = [], [], 0
    for seed in range(20):
        drawing = drawer.draw(ground, np.random.default_rng(seed))
        changed = np.abs(np.asarray(drawing.image, np.float32) - 128)
        left, top, right, bottom = (min(drawer.side, max(0, round(edge))) for edge in drawing.rect)
        box = np.zeros(changed.shape, bool)
        box[top:bottom, left:right] = True
        assert 20 <= box.sum() < changed.size / 2
        inside.append(changed[box].mean())
        outside.append(changed[~box].mean())
        drawn += changed[box].max() > 15
    # Neighbours and half of the shadows lie outside, so each box is denser, and not the only place that changed.
    assert drawn >= 18
    assert np.mean(inside) > 4 * np.mean(outside)


def test_a_lone_vehicle_fills_its_box_and_nothing_else() -> None:
    canvas, pose = thermal_drawn.Canvas(40), thermal_drawn.Pose(20, 20, math.pi / 2)
    vehicle = thermal_drawn._Vehicle(length=20, half=5, tone=1.0)
    vehicle.panel(canvas, pose, (-1, 1), 1, vehicle.tone)
    ground = Image.new("L", (40, 40), 100)
    image = canvas.onto(ground, depth=50, blur=0.01, ragged=(1, 1), rng=np.random.default_rng(0))
    rows, columns = np.nonzero(np.asarray(image) > 110)
    # It stands upright: 20 long down the picture, 10 wide, and the box has one more pixel on each side.
    assert vehicle.rect(pose) == pytest.approx((14, 9, 26, 31))
    assert (rows.min(), rows.max()) == (10, 30)  # Pillow includes the last corner
    assert (columns.min(), columns.max()) == (15, 25)
    assert np.asarray(image)[20, 20] == 150


def test_what_nobody_can_draw_is_one_clear_line(plan: Plan) -> None:
    with pytest.raises(OptionError, match=r"augment\.drawn: cannot be drawn .*'ground'"):
        plan.augmented({"drawn": {"ground": 0.5}}).task(None)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"tight": [0.1]}, r"augment\.tight"),
        ({"wide": [0.9, 0.1]}, r"augment\.wide"),
        ({"drawn": {"car": 2}}, r"augment\.drawn\.car"),
        ({"invert": {"car": "often"}}, r"augment\.invert\.car"),
        ({"drawings": 0}, r"augment\.drawings"),
        ({"colour": 1}, r"unknown key 'augment\.colour'"),
    ],
)
def test_a_wrong_augmentation_is_one_clear_line(plan: Plan, augment: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        plan.augmented(augment).task(None)


# --- batches ----------------------------------------------------------------------------------------------------------


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
    for entry in _annotations()["images"]:
        white = entry["date_captured"] != DATES[1]
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
    table = _annotations()
    everywhere = [{"id": 1000 + at, "image_id": at, "category_id": 4, "bbox": [0, 0, 500, 420]} for at in range(9)]
    (folder / "annotations.json").write_text(json.dumps({**table, "annotations": table["annotations"] + everywhere}))
    with pytest.raises(RecordingError, match="no picture has 80 x 80 pixels of empty ground"):
        plan.task(None)


# --- cameras ----------------------------------------------------------------------------------------------------------

QUIET = thermal_augment.Augment(
    quarter_turn=0,
    upside_down=0,
    blur=0,
    low_resolution=0,
    gamma=0,
    saturate=0,
    gradient=0,
    noise=0,
    dead_pixels=0,
    cutout=0,
    resized=0,
)


def test_warm_becomes_cold_where_the_recipe_says_so() -> None:
    patch = np.full((8, 6), 0.2, np.float32)
    patch[3:5, 3:5] = 0.9
    camera = thermal_augment.Camera(QUIET, np.random.default_rng(0))
    as_it_is = camera.see(patch, turnable=False, invert=0.0)
    inverted = camera.see(patch, turnable=False, invert=1.0)
    assert as_it_is[4, 4] > as_it_is[0, 0]
    assert inverted[4, 4] < inverted[0, 0]


@pytest.mark.parametrize("damage", [{"blur": 1}, {"low_resolution": 1}, {"noise": 1}, {"cutout": 1}, {"gradient": 1}])
def test_every_damage_keeps_the_shape_and_changes_something(damage: dict[str, Any]) -> None:
    patch = np.random.default_rng(1).random((13, 9), np.float32)
    plain, damaged = (
        thermal_augment.Camera(how, np.random.default_rng(0)).see(patch, turnable=False)
        for how in (QUIET, replace(QUIET, **damage))
    )
    assert damaged.shape == (13, 9)
    assert not np.allclose(damaged, plain, atol=1e-3)


def test_a_cut_keeps_the_pixels_of_the_sensor() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8))
    np.testing.assert_array_equal(
        thermal_augment.cut(image, (10, 20, 40, 35), 64), np.asarray(image, np.float32)[20:35, 10:40] / np.float32(255)
    )
    assert thermal_augment.cut(image, (0, 0, 80, 60), 40).shape == (30, 40)


def test_what_somebody_has_squeezed_no_longer_says_its_size(plan: Plan) -> None:
    """A person is 12 x 20 pixels here, and fills under half of the square unless it was squeezed."""
    task = plan.by_size.task(0)
    held = {held.variant: held for held in task.held_out()}
    kept, squeezed = (_area(held[name].inputs[:1])[0] for name in ("margin 0", "resized"))
    assert kept == 29 * 17  # 64 * sqrt(20 / 96), and 12 / 20 of that
    assert squeezed == 52 * 52  # 64 * sqrt(64 / 96)


def test_the_recipe_says_how_often_cuts_are_squeezed(plan: Plan) -> None:
    always, never = (plan.by_size.augmented({"resized": share}).batch(64).inputs for share in (1, 0))
    assert set(_area(always.numpy())) == {52 * 52}
    assert len(set(_area(never.numpy()))) > 20


def _area(inputs: Floats) -> list[int]:
    """Pixels of each square's rectangle that is not its mean."""
    shown = np.abs(inputs[:, 0]) > 1e-4
    return [int(picture.any(axis=0).sum() * picture.any(axis=1).sum()) for picture in shown]
