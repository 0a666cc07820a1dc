"""Distilling: a small student learns to say what its teacher says of the same items.

    each fold    cache the teacher's vectors -> train a student -> teach it 8 bits -> measure both on what neither has seen
    everything   the same without anything held out: the student that is kept

The run folder:

    recipe.toml, run.json        what was asked for; held-out numbers of student and teacher, the share kept, what each costs
    measured.json                likewise, of single folds
    tower.safetensors            for `edgebind export --checkpoint`
    folds/                       students that never saw what their fold holds out
    cache/                       the teacher's vectors, for runs with other losses or another student
    losses.jsonl, events/        every step's loss; `tensorboard --logdir RUN`
    state.pt                     while it runs: from here the same command goes on after Ctrl-C or a crash
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from edgebind import atomic
from edgebind.errors import OptionError
from edgebind.models import tower_file
from edgebind.train import distil_report, processes, quantisation
from edgebind.train.distil_recipe import DistilRecipe
from edgebind.train.distil_report import Drifts, Judged
from edgebind.train.engine import Engine
from edgebind.train.fake_quantise import FakeQuantised
from edgebind.train.journal import Journal
from edgebind.train.lesson import STUDENT, Reinforced
from edgebind.train.nodes import Encode
from edgebind.train.quantisation import Plan
from edgebind.train.recipe import Training
from edgebind.train.stage import Stage, open_stage
from edgebind.train.teacher import require_strangers

CPU = torch.device("cpu")


class Progress(Protocol):
    """Told of every step of every stage."""

    def __call__(self, stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None: ...


def distil(
    recipe: DistilRecipe, encode: Encode | None = None, *, device: torch.device = CPU, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure the recipe fold by fold, then distil a student from everything, and write the run folder.

    Parameters
    ----------
    encode: stands in for the sentence encoder, texts -> (texts, dim) unit rows.

    Returns
    -------
    What `run.json` holds.

    Raises
    ------
    OptionError, RecordingError: a recipe or data that cannot be used, or a cache of another teacher.
    CheckpointError, BundleError: a teacher that cannot be loaded.
    EdgebindError: the loss is no number.
    StorageError: the run folder cannot be written.
    """
    require_strangers(recipe)
    out = Path(recipe.out)
    with Journal(out) as journal:
        run = _Run(recipe, encode, device, journal, progress or _silent)
        folds = [run.fold(number) for number in range(recipe.folds)]
        stage = open_stage(recipe, None, device, encode)
        student, _ = run.train(stage)
    report = distil_report.make(stage, student, folds)
    processes.wait()
    if processes.rank() == 0:
        _write_student(out / "tower.safetensors", stage, student, distil_report.headline(report))
        _write_json(out / "run.json", report)
        _clean(out, recipe.folds)
    return report


def measure_folds(
    recipe: DistilRecipe,
    numbers: Sequence[int],
    encode: Encode | None = None,
    *,
    device: torch.device = CPU,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a recipe on some of its folds and make no student of everything: for recipes that are compared.

    What is measured stays in the run folder, so that the same call, or `distil`, does not measure it again; `measured.json` has
    the numbers.

    Parameters
    ----------
    numbers: of the folds, counted from 0.

    Returns
    -------
    What `run.json` would hold, of these folds alone.

    Raises
    ------
    OptionError: no such fold; and as `distil`.
    """
    if not numbers or not set(numbers) <= set(range(recipe.folds)):
        wanted = f"1 to {recipe.folds}" if recipe.folds else "a recipe that holds something out"
        raise OptionError("no such fold", wanted=wanted, got=" ".join(str(number + 1) for number in numbers))
    require_strangers(recipe)
    with Journal(Path(recipe.out)) as journal:
        run = _Run(recipe, encode, device, journal, progress or _silent)
        folds = [run.fold(number) for number in numbers]
    stage = open_stage(recipe, numbers[-1], device, encode)
    report = distil_report.make(stage, stage.student.module, folds)
    report["folds"] = [number + 1 for number in numbers]
    if processes.rank() == 0:
        _write_json(Path(recipe.out) / "measured.json", report)
    return report


def _silent(stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None:
    """Nobody looks."""


class _Run:
    """One call of `distil`: what all of its stages share."""

    def __init__(
        self, recipe: DistilRecipe, encode: Encode | None, device: torch.device, journal: Journal, progress: Progress
    ) -> None:
        self.recipe, self.out = recipe, Path(recipe.out)
        self._encode, self._device, self._journal, self._progress = encode, device, journal, progress

    def fold(self, number: int) -> Judged:
        """What a student that never saw fold `number` makes of it, beside its teacher; kept on disk until the run ends."""
        path = self.out / f"fold-{number}.json"
        kept = self._kept(path)
        if kept is not None:
            return Judged.from_dict(kept)
        stage = open_stage(self.recipe, number, self._device, self._encode)
        student, drifts = self.train(stage)
        judged = replace(distil_report.judge(stage, student), drifts=drifts)
        if processes.rank() == 0:
            _write_student(self.out / "folds" / f"fold-{number}.safetensors", stage, student, {})
            with atomic.file(path) as scratch:
                scratch.write_text(json.dumps({"recipe": repr(self.recipe), "results": judged.to_dict()}), "utf-8")
            _forget(self.out, number)
        return judged

    def train(self, stage: Stage) -> tuple[nn.Module, Drifts]:
        """The student of a stage, from where a stopped run stands; and what 8 bits did to it before and after the last."""
        self._ask(stage)
        how, recipe = self.recipe.quantisation, self.recipe.training
        student = self._run(stage.name, stage, stage.student.module, recipe, _state(self.out, stage.fold))
        if not how.steps:
            return student, ()
        plan = self._plan(stage, student)
        training = quantisation.training_of(recipe, how)
        state = _state(self.out, stage.fold, "int8-")
        learned = self._run(f"{stage.name}, 8 bits", stage, FakeQuantised(student, plan.places), training, state)
        student.load_state_dict(learned.get_submodule("student").state_dict())
        after = quantisation.drift(stage, student)
        return student, () if plan.before is None or after is None else (plan.before, after)

    def _run(self, name: str, stage: Stage, student: nn.Module, training: Training, state: Path) -> nn.Module:
        """Train `student` to the last step; gives the moving average of its weights."""
        engine: Engine[Reinforced] = Engine(
            stage.lesson(student, training.chunks),
            training,
            seed=self.recipe.seed,
            fingerprint=f"{name}: {self.recipe}",
            device=self._device,
        )
        if state.is_file():
            engine.restore(state)
        self._journal.begin(name, engine.step)
        while engine.step < training.steps:
            step, parts = engine.step, engine.advance()
            self._journal.write(name, step, parts)
            self._progress(name, step, training.steps, parts["loss"])
            if engine.step % training.save_every == 0:
                engine.save(state)
        engine.save(state)
        average: nn.Module = engine.average[STUDENT]
        return average

    def _plan(self, stage: Stage, student: nn.Module) -> Plan:
        """What 8 bits will do to the student: found once, by one process, and kept until the run ends."""
        path = _plan_file(self.out, stage.fold)
        if processes.rank() == 0 and self._kept(path) is None:
            table = {"recipe": repr(self.recipe), "results": quantisation.plan(stage, student).to_dict()}
            with atomic.file(path) as scratch:
                scratch.write_text(json.dumps(table), encoding="utf-8")
        processes.wait()
        return Plan.from_dict(self._kept(path) or {})

    def _kept(self, path: Path) -> dict[str, Any] | None:
        """What a stopped run of this recipe has left in `path`."""
        if not path.is_file():
            return None
        table = json.loads(path.read_text(encoding="utf-8"))
        results: dict[str, Any] | None = table["results"] if table["recipe"] == repr(self.recipe) else None
        return results

    def _ask(self, stage: Stage) -> None:
        """Let the teacher speak, once."""

        def note(done: int, records: int, rate: float) -> None:
            self._progress(f"{stage.name}, teacher", done - 1, records, note=f"{rate:.0f} embeddings a second")

        stage.cache.fill(stage.draw, stage.teacher_rows, note)


def _write_json(path: Path, report: dict[str, Any]) -> None:
    with atomic.file(path) as scratch:
        scratch.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _state(out: Path, fold: int | None, kind: str = "") -> Path:
    return out / (f"{kind}state.pt" if fold is None else f"{kind}fold-{fold}.pt")


def _plan_file(out: Path, fold: int | None) -> Path:
    return _state(out, fold, "int8-").with_suffix(".json")


def _forget(out: Path, fold: int | None) -> None:
    for path in (_state(out, fold), _state(out, fold, "int8-"), _plan_file(out, fold)):
        path.unlink(missing_ok=True)


def _clean(out: Path, folds: int) -> None:
    """Kept only as long as the run may have to go on: the next run measures again, whatever has changed since."""
    for fold in (None, *range(folds)):
        _forget(out, fold)
        (out / f"fold-{fold}.json").unlink(missing_ok=True)


def _write_student(path: Path, stage: Stage, student: nn.Module, held_out: dict[str, float]) -> None:
    recipe, node = stage.recipe, stage.student.node
    info = tower_file.TowerInfo(
        space=stage.teacher.space,
        modality=node.modality,
        student=node.tower,
        dim=stage.teacher.dim,
        logit_scale=stage.teacher.logit_scale,
        window=stage.window,
        preprocess=node.preprocess,
        provenance={
            "licence": recipe.licence,
            "seed": recipe.seed,
            "distilled_from": stage.teacher.file.name,
            **({} if stage.fold is None else {"held_out_fold": stage.fold}),
            **({"held_out": held_out} if held_out else {}),
        },
    )
    tower_file.write(path, student, info, stage.bank)
