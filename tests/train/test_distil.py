"""A whole distillation: a student keeps what its teacher knows, a killed run goes on exactly, sides that do not fit are told so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgebind.benchmarks import ablation
from edgebind.errors import OptionError, RecordingError
from edgebind.models import students, tower_file
from edgebind.train import bind, distil, distil_recipe, distil_report, recipe, stage
from edgebind.train.distil_recipe import DistilRecipe
from tests.conftest import ROOT
from tests.train import movements, two_processes

RECIPE = """
seed = 5
out = "OUT"
licence = "none"

[teacher]
checkpoint = "TEACHER"

[student]
modality = "imu"
tower = "imu-xs"
preprocess = { kind = "imu" }

[cache]
records = 12
record = 8
shard = 5

[losses]
affinity = 1.0
prompt_affinity = 1.0
contrast = 1.0
mse = 1.0

[training]
steps = 12
batch = 16
learning_rate = 0.003
warmup_steps = 2
save_every = 5

[[data]]
reader = "spsw"
path = "DATA"
folds = [["s01"], ["s02"]]

[[prompts]]
label = "WALKING"
texts = ["walking", "a person walking"]

[[prompts]]
label = "SEATED"
texts = ["sitting"]

[[questions]]
name = "activity"
groups = [["WALKING"], ["SEATED"]]
"""

UNLABELLED = """
seed = 5
out = "OUT"

[teacher]
checkpoint = "TEACHER/tower.safetensors"

[student]
modality = "imu"
tower = "imu-xs"
preprocess = { kind = "imu" }

[cache]
records = 12
record = 8
shard = 5

[training]
steps = 12
batch = 16
chunk = 8
learning_rate = 0.003
warmup_steps = 2
save_every = 5

[[data]]
reader = "recordings"
path = "DATA"
parts = 2
"""


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people, the run of a teacher that knows them, and recordings without a word."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("taught")
    movements.write_people(folder / "data", "s01", "s02", "s03")
    movements.write_recordings(folder / "recordings", 3)
    text = movements.RECIPE.replace("OUT", str(folder / "teacher")).replace("DATA", str(folder / "data"))
    (folder / "teacher.toml").write_text(text)
    plan = recipe.read(folder / "teacher.toml")
    bind.bind(replace(plan, training=replace(plan.training, steps=60)), movements.encode)
    torch.set_num_threads(threads)
    return folder


def _plan(taught: Path, out: Path, text: str = RECIPE) -> DistilRecipe:
    data = taught / ("data" if text is RECIPE else "recordings")
    filled = text.replace("OUT", str(out / "run")).replace("TEACHER", str(taught / "teacher"))
    (out / "recipe.toml").write_text(filled.replace("DATA", str(data)))
    return distil_recipe.read(out / "recipe.toml")


@pytest.fixture
def plan(taught: Path, tmp_path: Path) -> DistilRecipe:
    return _plan(taught, tmp_path)


def test_a_student_may_learn_from_its_teachers_own_data(taught: Path, tmp_path: Path) -> None:
    short = RECIPE[: RECIPE.index("[[data]]")]
    for name in ("whole", "short"):
        (tmp_path / name).mkdir()
    whole, plan = _plan(taught, tmp_path / "whole"), _plan(taught, tmp_path / "short", short)
    assert plan.data == whole.data
    assert plan.prompts == whole.prompts
    assert plan.questions == whole.questions
    stranger = short.replace('"TEACHER"', '"TEACHER/tower.safetensors"')
    with pytest.raises(OptionError, match=r"a recipe without data .*wanted .*a finished run of edgebind bind"):
        _plan(taught, tmp_path, stranger)


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
    plan = _plan(taught, tmp_path, UNLABELLED)
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
    assert {stage for stage, *_ in _losses(out)} == {"fold 2 of 2"}
    assert not (out / "tower.safetensors").exists()
    whole = distil.distil(plan, movements.encode)
    assert [stage for stage, step, _ in _losses(out) if step == 0] == ["fold 2 of 2", "fold 1 of 2", "everything"]
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


# --- resume -----------------------------------------------------------------------------------------------------------


def _losses(out: Path) -> list[tuple[str, int, float]]:
    path = out / "losses.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [(entry["stage"], entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_losses(taught: Path, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = _plan(taught, tmp_path / "whole", UNLABELLED)
    distil.distil(whole)
    expected = _losses(Path(whole.out))
    assert len(expected) == 3 * 12
    killed = Path(_plan(taught, tmp_path / "killed", UNLABELLED).out)
    # While the teacher speaks, in the first fold, in the second, and then to the end.
    _run_until(tmp_path / "killed", (killed / "cache" / "fold-0" / "vectors-00000.tar").is_file)
    for lines in (3, 20):
        _run_until(tmp_path / "killed", lambda lines=lines: len(_lines_of(killed / "losses.jsonl")) >= lines)
    _run_until(tmp_path / "killed", None)
    assert _losses(killed) == expected
    first, second = (tower_file.read(Path(out) / "tower.safetensors")[0] for out in (whole.out, killed))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=0, atol=0, msg=name)


def _run_until(folder: Path, enough: Any) -> None:
    """Run the command, and kill it as a power cut would once there is enough; to its end when `enough` is None."""
    command = [sys.executable, "-m", "edgebind", "distil", str(folder / "recipe.toml"), "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while enough is not None and child.poll() is None and not enough():
        time.sleep(0.01)  # nothing else can tell when another process has come so far
    if enough is not None:
        child.send_signal(signal.SIGKILL)
    _, said = child.communicate()
    assert child.returncode == (0 if enough is None else -signal.SIGKILL), said.decode()


def _lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else []


@pytest.mark.slow
def test_the_last_stage_teaches_8_bits_and_goes_on_exactly(taught: Path, tmp_path: Path) -> None:
    text = UNLABELLED.replace("parts = 2", "folds = [['walk_0.csv']]") + "\n[quantisation]\nsteps = 8\nwindows = 32\n"
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole, stopped = (_plan(taught, tmp_path / name, text) for name in ("whole", "stopped"))
    report = distil.distil(whole)
    assert set(report["int8"]) == {"before", "after"}
    assert report["int8"]["after"]["cosine_mean"] > 0.99
    assert report["int8"]["after"]["windows"] == report["likeness"]["items"]

    def pull_the_plug(stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None:
        if (stage, step) == ("everything, 8 bits", 6):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil.distil(stopped, progress=pull_the_plug)
    distil.distil(stopped)
    assert _losses(Path(stopped.out)) == _losses(Path(whole.out))
    assert {stage for stage, *_ in _losses(Path(whole.out))} >= {"fold 1 of 1, 8 bits", "everything, 8 bits"}
    towers = [tower_file.read(Path(one.out) / "tower.safetensors")[0].state_dict() for one in (whole, stopped)]
    for name, value in towers[0].items():
        torch.testing.assert_close(value, towers[1][name], rtol=0, atol=0, msg=name)
    assert not [*Path(whole.out).glob("*.pt"), *Path(whole.out).glob("int8-*")]


@pytest.mark.slow
def test_two_processes_distil_what_one_does(taught: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    text = UNLABELLED.replace("parts = 2", "")
    one, two = (_plan(taught, tmp_path / name, text) for name in ("one", "two"))
    distil.distil(one)
    two_processes.run("-m", "edgebind", "distil", str(tmp_path / "two" / "recipe.toml"), "--threads", "1")
    mine, theirs = _losses(Path(one.out)), _losses(Path(two.out))
    np.testing.assert_allclose([loss for *_, loss in theirs], [loss for *_, loss in mine], rtol=1e-5)
    first, second = (tower_file.read(Path(plan.out) / "tower.safetensors")[0] for plan in (one, two))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)


# --- what cannot be -----------------------------------------------------------------------------------------------------


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
        ('[["WALKING"], ["SEATED"]]', '[["RUNNING"]]', "names a class without prompts") ,
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = RECIPE.replace('groups = [["WALKING"], ["SEATED"]]', "groups = " + '[["WALKING"], ["SEATED"]]')
    assert old in text
    (tmp_path / "recipe.toml").write_text(text.replace(old, new))
    with pytest.raises(OptionError, match=message) as caught:
        distil_recipe.read(tmp_path / "recipe.toml")
    assert "\n" not in str(caught.value)


def test_words_are_needed_where_losses_compare_with_words(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(UNLABELLED + "\n[losses]\nlabels = 1.0\n")
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
        ({"window": _window(3.0)}, "the student's window is longer than its teacher's"),
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
    plan = _plan(taught, tmp_path, UNLABELLED)
    with pytest.raises(error, match=message) as caught:
        distil.distil(replace(plan, data=(replace(plan.data[0], **changes),)))
    assert "\n" not in str(caught.value)
