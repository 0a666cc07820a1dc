"""A whole binding on movements that anyone could tell apart: it learns, it resumes exactly, it says what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgebind.errors import OptionError, RecordingError
from edgebind.models import tower_file
from edgebind.train import bind, recipe
from edgebind.train.distil_recipe import Teacher
from edgebind.train.recipe import Recipe
from edgebind.train.teacher import is_run, open_teacher
from tests.train import movements


@pytest.fixture
def plan(tmp_path: Path) -> Recipe:
    movements.write_people(tmp_path / "data", "s01", "s02", "s03")
    text = movements.RECIPE.replace("OUT", str(tmp_path / "run")).replace("DATA", str(tmp_path / "data"))
    (tmp_path / "recipe.toml").write_text(text)
    return recipe.read(tmp_path / "recipe.toml")


def _with_data(plan: Recipe, **changes: Any) -> Recipe:
    edge = plan.edges[0]
    return replace(plan, edges=(replace(edge, data=(replace(edge.data[0], **changes),)),))


def test_learns_what_strangers_do(plan: Recipe) -> None:
    long = replace(plan, training=replace(plan.training, steps=60))
    report = bind.bind(long, movements.encode)
    figures = report["held_out"]["imu-text"][""]["activity"]
    assert figures["balanced_accuracy"] > 0.95
    assert len(figures["folds"]) == 2
    assert np.sum(figures["confusion"]) == figures["items"] > 20
    assert json.loads((Path(plan.out) / "run.json").read_text())["held_out"] == report["held_out"]


def test_some_folds_are_measured_alone_and_may_teach_them(plan: Recipe) -> None:
    report = bind.measure_folds(plan, [1], movements.encode)
    out = Path(plan.out)
    assert report["folds"] == [2]
    assert json.loads((out / "measured.json").read_text())["held_out"] == report["held_out"]
    assert not (out / "tower.safetensors").exists()
    teacher = Teacher(plan.out)
    assert is_run(teacher)
    assert open_teacher(teacher, "imu", 1).dim == 32
    with pytest.raises(OptionError, match="the teacher's run has no such tower"):
        open_teacher(teacher, "imu", 0)
    whole = bind.bind(plan, movements.encode)
    alone = report["held_out"]["imu-text"][""]["activity"]
    assert whole["held_out"]["imu-text"][""]["activity"]["folds"][1] == alone["balanced_accuracy"]
    stages = [json.loads(line)["stage"] for line in (out / "losses.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(stages)) == ["fold 2 of 2", "fold 1 of 2", "everything"], "a fold is not learned twice"
    with pytest.raises(OptionError, match=r"no such fold \(wanted 1 to 2, got 3\)"):
        bind.measure_folds(plan, [2], movements.encode)


def test_a_fold_is_measured_again_when_its_data_has_changed(plan: Recipe) -> None:
    before = bind.measure_folds(plan, [0], movements.encode)["held_out"]["imu-text"][""]["activity"]["items"]
    assert bind.measure_folds(plan, [0], movements.encode)["held_out"]["imu-text"][""]["activity"]["items"] == before
    person = Path(plan.edges[0].data[0].path) / "s01" / "s01_01_sp.csv"
    person.write_text("\n".join(person.read_text().splitlines()[:-200]) + "\n")
    after = bind.measure_folds(plan, [0], movements.encode)["held_out"]["imu-text"][""]["activity"]["items"]
    assert after < before


def test_words_that_nothing_learned_are_asked_too(plan: Recipe, tmp_path: Path) -> None:
    (tmp_path / "unseen.toml").write_text("""
imu = [
  { label = "WALKING", texts = ["on foot w", "strolling w"] },
  { label = "SEATED", texts = ["at rest s", "resting s", "s"] },
]
""")
    edge = replace(plan.edges[0], unseen=str(tmp_path / "unseen.toml"))
    report = bind.bind(replace(plan, edges=(edge,)), movements.encode)
    figures = report["held_out"]["imu-text"][""]
    # The stand-in encoder knows the last word's first letter alone: w as in walking, s as in sitting.
    twice = 2 * np.array(figures["activity"]["confusion"])
    np.testing.assert_array_equal(figures["activity, unseen words"]["confusion"], twice)
    # Both banks lie where the prompts do, and so does their mean.
    together = figures["activity, unseen words, their mean"]["confusion"]
    np.testing.assert_array_equal(together, figures["activity"]["confusion"])


def test_unseen_words_that_are_missing_are_one_clear_line(plan: Recipe, tmp_path: Path) -> None:
    (tmp_path / "unseen.toml").write_text('imu = [{ label = "WALKING", texts = ["on foot"] }]')
    edge = replace(plan.edges[0], unseen=str(tmp_path / "unseen.toml"))
    with pytest.raises(OptionError, match="no unseen words for class 'SEATED'"):
        bind.bind(replace(plan, edges=(edge,)), movements.encode)
    with pytest.raises(OptionError, match="the file of unseen prompts cannot be read"):
        bind.bind(replace(plan, edges=(replace(edge, unseen=str(tmp_path / "nowhere")),)), movements.encode)


NAMED = movements.RECIPE.replace("prompt_weight = 0.5", 'templates = ["{}", "a recording of {}"]').replace(
    'texts = ["sitting"]', 'texts = ["sitting", "somebody sitting"]\nnames = ["a sitter", "sitting"]'
)


def test_every_name_stands_in_every_template(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(NAMED)
    edge = recipe.read(tmp_path / "recipe.toml").edges[0]
    sitting = ("sitting", "somebody sitting", "a sitter", "a recording of a sitter", "a recording of sitting")
    assert edge.phrasings == [("walking", "a person walking"), sitting], "texts first, and none twice"


def test_names_in_templates_are_learned_and_the_first_text_stays_the_canonical_one(tmp_path: Path) -> None:
    movements.write_people(tmp_path / "data", "s01", "s02", "s03")
    text = NAMED.replace("OUT", str(tmp_path / "run")).replace("DATA", str(tmp_path / "data"))
    (tmp_path / "recipe.toml").write_text(text)
    plan = recipe.read(tmp_path / "recipe.toml")
    heard: set[str] = set()

    def listening(prompts: Sequence[str]) -> np.ndarray:
        heard.update(prompts)
        return movements.encode(prompts)

    report = bind.measure_folds(plan, [0], listening)
    assert heard.issuperset(text for texts in plan.edges[0].phrasings for text in texts)
    again: Recipe = recipe.from_table(Recipe, json.loads(json.dumps(report["recipe"])), where="measured.json")
    assert again.edges[0].phrasings == plan.edges[0].phrasings, "a student reads its teacher's words from its report"
    _, _, bank = tower_file.read(Path(plan.out) / "folds" / "fold-0.safetensors")
    assert bank.prompts == ("walking", "sitting")


def test_the_tower_comes_back_from_its_file(plan: Recipe) -> None:
    bind.bind(plan, movements.encode)
    tower, info, bank = tower_file.read(Path(plan.out) / "tower.safetensors")
    assert info.logit_scale == pytest.approx(10)
    assert info.window.length == 200
    assert bank.prompts == ("walking", "sitting")
    vectors = tower(torch.zeros(2, 6, 200))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_a_stopped_run_goes_on_exactly(plan: Recipe, tmp_path: Path) -> None:
    whole = replace(plan, out=str(tmp_path / "whole"))
    stopped = replace(plan, out=str(tmp_path / "stopped"))
    bind.bind(whole, movements.encode)

    def pull_the_plug(stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None:
        if step == 7 and stage == "everything":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bind.bind(stopped, movements.encode, progress=pull_the_plug)
    # The state remembers the recipe, and these two differ in `out` alone.
    resumed: list[int] = []
    bind.bind(stopped, movements.encode, progress=lambda stage, step, steps, loss=None, note="": resumed.append(step))
    assert resumed[0] == 5, "it went on from the last state instead of starting again"
    weights = [tower_file.read(Path(p.out) / "tower.safetensors")[0].state_dict() for p in (whole, stopped)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 3", "seed = 3\ncolour = 1", "unknown key 'colour'"),
        ("seed = 3\n", "", "key 'seed' is missing"),
        ("seed = 3", 'seed = "three"', "key 'seed' has the wrong type"),
        ('modality = "imu"', 'modality = "smell"', "unknown modality"),
        ('tower = "imu-s"', 'tower = "imu-s"\nsize = 3', "unknown key 'nodes.imu.size'"),
        ('["imu", "text"]', '["imu", "sound"]', "an edge ends in no node"),
        ('["imu", "text"]', '["imu"]', "an edge has two ends"),
        (
            "[training]",
            '[nodes.lonely]\nmodality = "imu"\ntower = "imu-s"\n\n[training]',
            r"no edge binds node 'lonely' \(wanted an edge that ends in it, or no such node\)",
        ),
        (
            "[[edges]]",
            '[[edges]]\nends = ["imu", "text"]\ntemperature = 0.1\ndata = []\n\n[[edges]]',
            r"two edges have the same ends \(wanted one, with all its data and prompts, got imu-text\)",
        ),
        (
            "[[edges]]",
            '[[edges]]\nends = ["text", "imu"]\ntemperature = 0.1\ndata = []\n\n[[edges]]',
            r"two edges have the same ends \(wanted one, with all its data and prompts, got text-imu\)",
        ),
        ("batch = 16", "batch = 16\nchunk = 5", "not made of whole chunks"),
        ("batch = 16", 'batch = 16\nprecision = "fp8"', "unknown training.precision"),
        ("steps = 12", "step = 12", "unknown key 'training.step'"),
        ('[["WALKING"], ["SEATED"]]', '[["RUNNING"], ["SEATED"]]', "names a class without prompts"),
        ("seed = 3", "seed = ", "the recipe is no TOML"),
        ('out = "OUT"', 'out = ""', "out names no folder"),
        ('[["WALKING"], ["SEATED"]]', '[["WALKING"]]', r"question 'activity' asks nothing \(wanted two groups"),
        ('label = "SEATED"', 'label = "WALKING"', "class 'WALKING' has prompts twice"),
        ("seed = 3", "seed = -1", r"seed does not fit \(wanted at least 0, got -1\)"),
        ("temperature = 0.1", "temperature = 0.0", r"temperature of an edge does not fit \(wanted above 0, got 0\.0\)"),
        ("temperature = 0.1", "temperature = 0.1\nsmoothing = 3.0", "smoothing of an edge does not fit"),
        ("batch = 16", "batch = 1", r"training\.batch does not fit \(wanted at least 2, got 1\)"),
        ("batch = 16", "batch = 16\nchunk = -4", r"training\.chunk does not fit"),
        (
            "learning_rate = 0.003",
            "learning_rate = nan",
            r"training\.learning_rate does not fit \(wanted above 0, got nan\)",
        ),
        ("batch = 16", "batch = 16\nbetas = [0.9]", r"training\.betas do not fit \(wanted two numbers"),
        ("batch = 16", "batch = 16\naverage = 2.0", "betas or average does not fit"),
        ("batch = 16", "batch = 16\nclip = -1.0", r"training\.clip does not fit \(wanted above 0"),
        ('label = "SEATED"', 'label = "SEATED"\nshare = 0.0', "share of class 'SEATED' does not fit"),
        ('folds = [["s01"], ["s02"]]', "parts = 1", r"parts do not fit \(wanted at least 2, or none, got 1\)"),
        ('[[edges.prompts]]\nlabel = "SEATED"\ntexts = ["sitting"]\n', "", "one class is nothing to tell apart"),
        ('["sitting"]', '["sitting"]\nnames = ["a sitter"]', "class 'SEATED' has names and no templates"),
        ("prompt_weight = 0.5", 'templates = ["{}"]', "templates without names"),
        ('["sitting"]', '["walking"]', "'walking' stands for two classes"),
    ],
)
def test_a_wrong_recipe_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in movements.RECIPE
    (tmp_path / "recipe.toml").write_text(movements.RECIPE.replace(old, new))
    with pytest.raises(OptionError, match=message) as caught:
        recipe.read(tmp_path / "recipe.toml")
    assert "\n" not in str(caught.value)


def test_a_template_without_a_place_for_the_name_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(NAMED.replace("a recording of {}", "a recording"))
    with pytest.raises(OptionError, match=r"recipe.toml: a template has one place for the label .*got 'a recording'"):
        recipe.read(tmp_path / "recipe.toml")


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_a_window_that_the_tower_cannot_read_is_one_clear_line(plan: Recipe, seconds: float) -> None:
    node = replace(plan.nodes["imu"], window={**plan.nodes["imu"].window, "seconds": seconds})
    says = rf"node 'imu' has a window that 'imu-s' cannot read \(got {100 * seconds:.0f} samples: {seconds:g} s at 100 Hz\)"
    with pytest.raises(OptionError, match=says):
        bind.bind(replace(plan, nodes={**plan.nodes, "imu": node}), movements.encode)


def test_a_class_without_data_is_one_clear_line(plan: Recipe) -> None:
    edge = plan.edges[0]
    flying = replace(edge.prompts[0], label="FLYING")
    with pytest.raises(OptionError, match="class 'FLYING' has no training data"):
        bind.bind(replace(plan, edges=(replace(edge, prompts=(*edge.prompts, flying)),)), movements.encode)


def test_missing_data_is_one_clear_line(plan: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recordings in the layout"):
        bind.bind(_with_data(plan, path=str(tmp_path / "nowhere")), movements.encode)


def test_a_stranger_that_is_not_in_the_data_is_one_clear_line(plan: Recipe) -> None:
    with pytest.raises(OptionError, match="a held-out group is not in the data"):
        bind.bind(_with_data(plan, folds=(("s99",),)), movements.encode)


def test_a_loss_that_is_no_number_stops_the_run(plan: Recipe) -> None:
    from edgebind.errors import EdgebindError

    def poisoned(prompts: Sequence[str]) -> np.ndarray:
        return np.full((len(prompts), 32), np.nan, np.float32)

    with pytest.raises(
        EdgebindError, match=r"batch 0, chunk 0, row 0: imu-text s0\d at .* s: the loss at step 0 is nan"
    ):
        bind.bind(plan, poisoned)
