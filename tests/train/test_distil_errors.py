"""Recipes, students, teachers and data that do not fit each other are one clear line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebind.errors import OptionError, RecordingError
from edgebind.train import distil, distil_recipe
from edgebind.train.distil_recipe import DistilRecipe
from tests.train import distilling, movements


@pytest.fixture
def plan(taught: Path, tmp_path: Path) -> DistilRecipe:
    return distilling.plan(taught, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 5", "seed = 5\ncolour = 1", "unknown key 'colour'"),
        ("seed = 5\n", "", "key 'seed' is missing"),
        ("affinity = 1.0", "afinity = 1.0", "unknown key 'losses.afinity'"),
        ("records = 12", 'records = "12"', "key 'cache.records' has the wrong type"),
        ("records = 12", "records = 0", "cache.records is too small"),
        ("record = 8", "record = 6", "a chunk is not made of whole records"),
        ("affinity = 1.0\nprompt_affinity = 1.0\ncontrast = 1.0\nmse = 1.0", "affinity = 0\ncontrast = 0\nmse = 0", "losses without weight"),
        ('modality = "imu"', 'modality = "smell"', "unknown modality"),
        ('checkpoint = "TEACHER"', 'checkpoint = "TEACHER"\nprecision = "fp8"', "unknown teacher.precision"),
        ('[["WALKING"], ["SEATED"]]', '[["RUNNING"], ["SEATED"]]', "names a class without prompts") ,
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = distilling.RECIPE.replace('groups = [["WALKING"], ["SEATED"]]', "groups = " + '[["WALKING"], ["SEATED"]]')
    assert old in text
    (tmp_path / "recipe.toml").write_text(text.replace(old, new))
    with pytest.raises(OptionError, match=message) as caught:
        distil_recipe.read(tmp_path / "recipe.toml")
    assert "\n" not in str(caught.value)


def test_words_are_needed_where_losses_compare_with_words(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(distilling.UNLABELLED + "\n[losses]\nlabels = 1.0\n")
    with pytest.raises(OptionError, match="losses need prompts"):
        distil_recipe.read(tmp_path / "recipe.toml")


def _student(plan: DistilRecipe, **changes: Any) -> DistilRecipe:
    return replace(plan, student=replace(plan.student, **changes))


def _window(seconds: float, **changes: Any) -> dict[str, Any]:
    channels = ["ax", "ay", "az", "gx", "gy", "gz"]
    units = ["m/s²", "m/s²", "m/s²", "rad/s", "rad/s", "rad/s"]
    table = {"rate_hz": 100.0, "seconds": seconds, "hop_seconds": 0.5, "channels": channels, "units": units}
    return {**table, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": "thermal"}, "the teacher speaks for another modality"),
        ({"window": _window(3.0)}, "has a window that 'imu-xs' cannot read"),
        ({"window": _window(2.0, units=["g"] * 6)}, "student and teacher read other channels"),
        ({"window": {"rate_hz": 100.0}}, "key 'student.window.seconds' is missing"),
        ({"tower": "imu-q"}, "unknown student"),
        ({"frozen": True}, "is frozen and has no weights"),
    ],
)
def test_a_student_that_does_not_fit_is_one_clear_line(
    plan: DistilRecipe, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        distil.distil(_student(plan, **changes), movements.encode)
    assert "\n" not in str(caught.value)


def test_words_of_another_space_are_one_clear_line(plan: DistilRecipe) -> None:
    def longer(prompts: Any) -> np.ndarray:
        return np.eye(48, dtype=np.float32)[: len(prompts)]

    with pytest.raises(OptionError, match="the words lie in another space than the teacher's vectors"):
        distil.distil(plan, longer)


def test_a_teacher_that_saw_what_a_fold_holds_out_is_refused(plan: DistilRecipe) -> None:
    swapped = replace(plan, data=(replace(plan.data[0], folds=(("s02",), ("s01",))),))
    with pytest.raises(OptionError, match=r"the teacher has seen what a fold of .* holds out .*s02 held out in fold 1"):
        distil.distil(swapped, movements.encode)


def test_a_run_without_that_fold_is_one_clear_line(plan: DistilRecipe, taught: Path) -> None:
    more = replace(plan, teacher=replace(plan.teacher, node="imu"))
    with pytest.raises(OptionError, match="the teacher's run has no such tower"):
        distil.distil(more, movements.encode)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"reader": "spsw"}, OptionError, "unknown reader"),
        ({"reader": "webdataset"}, OptionError, "unknown reader"),
        ({"parts": 9}, OptionError, "fewer recordings than parts"),
        ({"parts": 0, "folds": (("walk_9.csv",),)}, OptionError, "a held-out group is not in the data"),
        ({"reader": "files", "path": "/no/such/folder"}, RecordingError, "no such folder"),
    ],
)
def test_data_that_cannot_be_is_one_clear_line(
    taught: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    plan = distilling.plan(taught, tmp_path, distilling.UNLABELLED)
    with pytest.raises(error, match=message) as caught:
        distil.distil(replace(plan, data=(replace(plan.data[0], **changes),)))
    assert "\n" not in str(caught.value)
