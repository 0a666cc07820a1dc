"""A whole distillation: a student keeps what its teacher knows, fold by fold, with words or without; what an ablation changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgebind.benchmarks import ablation
from edgebind.errors import OptionError
from edgebind.models import students, tower_file
from edgebind.train import distil, distil_report, stage
from edgebind.train.distil_recipe import DistilRecipe
from tests.train import distilling, movements


@pytest.fixture
def plan(taught: Path, tmp_path: Path) -> DistilRecipe:
    return distilling.plan(taught, tmp_path)


def test_a_student_may_learn_from_its_teachers_own_data(taught: Path, tmp_path: Path) -> None:
    short = distilling.RECIPE[: distilling.RECIPE.index("[[data]]")]
    for name in ("whole", "short"):
        (tmp_path / name).mkdir()
    whole, plan = distilling.plan(taught, tmp_path / "whole"), distilling.plan(taught, tmp_path / "short", short)
    assert plan.data == whole.data
    assert plan.prompts == whole.prompts
    assert plan.edge.phrasings == whole.edge.phrasings
    assert plan.questions == whole.questions
    stranger = short.replace('"TEACHER"', '"TEACHER/tower.safetensors"')
    with pytest.raises(OptionError, match=r"a recipe without data .*wanted .*a finished run of edgebind bind"):
        distilling.plan(taught, tmp_path, stranger)


def test_a_student_hears_its_teachers_names_in_its_teachers_templates(taught: Path, tmp_path: Path) -> None:
    report = json.loads((taught / "teacher" / "run.json").read_text())
    edge = report["recipe"]["edges"][0]
    edge["templates"] = ["{}", "a recording of {}"]
    edge["prompts"][1]["names"] = ["a sitter"]
    (tmp_path / "run.json").write_text(json.dumps(report))
    short = distilling.RECIPE[: distilling.RECIPE.index("[[data]]")].replace("TEACHER", str(tmp_path))
    phrasings = distilling.plan(taught, tmp_path, short).edge.phrasings
    assert phrasings[1] == ("sitting", "a sitter", "a recording of a sitter")


@pytest.mark.slow
def test_a_student_keeps_what_its_teacher_knows(plan: DistilRecipe) -> None:
    long = replace(plan, training=replace(plan.training, steps=60), cache=replace(plan.cache, records=24))
    report = distil.distil(long, movements.encode)
    figures = report["held_out"]["imu-text"][""]["activity"]
    assert figures["balanced_accuracy"] > 0.95
    assert len(figures["folds"]) == 2
    theirs = report["teacher"]["held_out"]["imu-text"][""]["activity"]
    assert theirs["items"] == figures["items"] > 20
    kept = figures["balanced_accuracy"] / theirs["balanced_accuracy"]
    assert report["kept"]["imu-text"][""]["activity"] == pytest.approx(kept, abs=1e-3)
    assert report["likeness"]["cosine"] > 0.9
    assert report["teacher"]["of"].startswith("each fold was taught by a tower that never saw it")
    assert json.loads((Path(plan.out) / "run.json").read_text())["held_out"] == report["held_out"]


def test_the_run_folder_has_the_student_and_says_how(plan: DistilRecipe, taught: Path) -> None:
    report = distil.distil(plan, movements.encode)
    out = Path(plan.out)
    tower, info, bank = tower_file.read(out / "tower.safetensors")
    _, teacher, _ = tower_file.read(taught / "teacher" / "tower.safetensors")
    assert (info.student, info.dim, info.space, info.logit_scale) == ("imu-xs", 32, "test", teacher.logit_scale)
    assert info.window == teacher.window, "a student without a window of its own sees its teacher's"
    assert bank.prompts == ("walking", "sitting")
    torch.testing.assert_close(tower(torch.rand(2, 6, 200)).norm(dim=1), torch.ones(2))
    assert sorted(path.name for path in (out / "folds").iterdir()) == ["fold-0.safetensors", "fold-1.safetensors"]
    assert not [*out.glob("*.pt"), *out.glob("fold-*.json")], "nothing of the way is left"
    assert sorted(path.name for path in (out / "cache").iterdir()) == ["everything", "fold-0", "fold-1"]
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * 12
    assert set(lines[0]) == {"stage", "step", "loss", "affinity", "prompt_affinity", "contrast", "mse"}
    assert list((out / "events").rglob("events.out.tfevents*"))
    example = torch.zeros(1, 6, 200)
    small, large = (students.build(name, dim=32) for name in ("imu-xs", "imu-s"))
    cost = report["cost"]
    assert cost["student"]["macs"] == students.count_macs(small, example)
    assert cost["teacher"]["parameters"] == sum(p.numel() for p in large.parameters())
    said = "\n".join(distil_report.table(report))
    assert "keeps" in said
    assert f"{cost['student']['macs']:,}" in said
    assert "mean cosine to the teacher" in said
    assert cost["fewer"]["macs"] == pytest.approx(cost["teacher"]["macs"] / cost["student"]["macs"], abs=0.01)


def test_each_fold_is_taught_by_a_tower_that_never_saw_it(plan: DistilRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    opened = stage.open_stage

    def noting(*arguments: Any) -> Any:
        found = opened(*arguments)
        asked.append(found.teacher.file.name)
        return found

    monkeypatch.setattr("edgebind.train.distil.open_stage", noting)
    distil.distil(plan, movements.encode)
    assert asked == ["fold-0.safetensors", "fold-1.safetensors", "tower.safetensors"]


@pytest.mark.slow
def test_data_without_labels_is_enough(taught: Path, tmp_path: Path) -> None:
    plan = distilling.plan(taught, tmp_path, distilling.UNLABELLED)
    report = distil.distil(replace(plan, training=replace(plan.training, steps=60)))
    found = report["held_out"]["student-teacher"]
    assert found["pairs"] == report["likeness"]["items"] > 20
    assert found["student to teacher"]["recall@10"] > 2 * 10 * found["chance"]
    assert report["likeness"]["cosine"] > 0.9
    assert report["teacher"]["of"].startswith("one teacher for all folds")
    _, _, bank = tower_file.read(Path(plan.out) / "tower.safetensors")
    assert bank.prompts == ("walking", "sitting"), "the teacher's own words"


def test_some_folds_are_measured_alone_and_not_again(plan: DistilRecipe) -> None:
    out = Path(plan.out)
    report = distil.measure_folds(plan, [1], movements.encode)
    assert report["folds"] == [2]
    assert json.loads((out / "measured.json").read_text())["held_out"] == report["held_out"]
    assert {stage for stage, *_ in distilling.losses(out)} == {"fold 2 of 2"}
    assert not (out / "tower.safetensors").exists()
    whole = distil.distil(plan, movements.encode)
    assert [stage for stage, step, _ in distilling.losses(out) if step == 0] == [
        "fold 2 of 2",
        "fold 1 of 2",
        "everything",
    ]
    alone = report["held_out"]["imu-text"][""]["activity"]
    assert whole["held_out"]["imu-text"][""]["activity"]["folds"][1] == alone["balanced_accuracy"]
    assert whole["cost"] == report["cost"]


@pytest.mark.parametrize("numbers", [[], [2], [0, -1]])
def test_folds_that_are_none_are_refused(plan: DistilRecipe, numbers: list[int]) -> None:
    with pytest.raises(OptionError, match=r"no such fold \(wanted 1 to 2"):
        distil.measure_folds(plan, numbers, movements.encode)


def test_an_ablation_changes_one_thing_at_a_time(plan: DistilRecipe) -> None:
    told = {title: one.losses.weights for title, one in ablation.of_losses(plan).items()}
    used = {"affinity": 1.0, "prompt_affinity": 1.0, "contrast": 1.0, "mse": 1.0}
    assert set(told) == {f"{name} alone" for name in plan.losses.weights} | {f"without {name}" for name in used}
    for title, weights in told.items():
        left = {name for name, weight in weights.items() if weight}
        name = title.removeprefix("without ").removesuffix(" alone")
        assert left == ({name} if title.endswith(" alone") else set(used) - {name})
    blind = replace(plan, prompts=(), losses=replace(plan.losses, prompt_affinity=0.0))
    assert "labels alone" not in ablation.of_losses(blind), "nothing of it needs words"


def test_an_ablation_asks_the_teacher_once(plan: DistilRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(stage.Stage, "teacher_rows", _counting(stage.Stage.teacher_rows, asked))
    variants = {"mse alone": ablation.of_losses(plan)["mse alone"], **ablation.of_students(plan, ["imu-s"])}
    report = ablation.measure(plan, variants, [0], encode=movements.encode)
    held_out = report["results"]["as it is"]["held_out"]["imu-text"][""]["activity"]["items"]
    assert sum(asked) == plan.cache.records * plan.cache.record + len(report["results"]) * held_out
    assert [row["student"] for row in report["results"].values()] == ["imu-xs", "imu-xs", "imu-s"]
    assert report["results"]["mse alone"]["losses"] == {"mse": 1.0}
    *_, last = lines = ablation.table(report)
    assert len(lines) == 2 + 3
    answer = report["results"]["student imu-s"]["held_out"]["imu-text"][""]["activity"]["balanced_accuracy"]
    assert f"{answer:.3f} (" in last


def _counting(ask: Any, asked: list[int]) -> Any:
    def teacher_rows(one: stage.Stage, items: Any) -> Any:
        asked.append(len(items))
        return ask(one, items)

    return teacher_rows
