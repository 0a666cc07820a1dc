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

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgebind.models import tower_file
from edgebind.train import distil_report, identity, processes, quantisation
from edgebind.train.distil_recipe import DistilRecipe
from edgebind.train.distil_report import Drifts, Judged
from edgebind.train.fake_quantise import FakeQuantised
from edgebind.train.lesson import STUDENT
from edgebind.train.nodes import Encode
from edgebind.train.quantisation import Plan
from edgebind.train.recipe import MEASURED, REPORT, Training
from edgebind.train.run import CPU, Progress, Run, require_folds
from edgebind.train.stage import Stage, open_stage
from edgebind.train.teacher import file_for, require_strangers


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
    with _Distillation.begun(recipe, encode, device, progress) as run:
        folds = [run.fold(number) for number in range(recipe.folds)]
        stage = open_stage(recipe, None, device, encode)
        student, _ = run.train_stage(stage)
    report = distil_report.make(stage, student, folds)
    processes.wait()
    if processes.rank() == 0:
        _write_student(run.out / "tower.safetensors", stage, student, distil_report.headline(report))
        run.report(REPORT, report)
        run.clean()
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
    require_folds(numbers, recipe.folds)
    require_strangers(recipe)
    with _Distillation.begun(recipe, encode, device, progress) as run:
        folds = [run.fold(number) for number in numbers]
    stage = open_stage(recipe, numbers[-1], device, encode)
    report = distil_report.make(stage, stage.student.module, folds)
    report["folds"] = [number + 1 for number in numbers]
    if processes.rank() == 0:
        run.report(MEASURED, report)
    return report


class _Distillation(Run[DistilRecipe]):
    """One call of `distil`."""

    def fold(self, number: int) -> Judged:
        """What a student that never saw fold `number` makes of it, beside its teacher; kept on disk until the run ends."""
        recipe = self.recipe
        others = (file_for(recipe.teacher, number), recipe.unseen, recipe.text.checkpoint)
        # Process 0's: other machines may have copied their files at another time.
        stamp = processes.of_first(identity.stamp(recipe.data, others), self.device)
        kept = self.kept(self.results(number), stamp)
        if kept is not None:
            return Judged.from_dict(kept)
        stage = open_stage(self.recipe, number, self.device, self.encode)
        student, drifts = self.train_stage(stage)
        judged = replace(distil_report.judge(stage, student), drifts=drifts)
        if processes.rank() == 0:
            _write_student(self.out / "folds" / f"fold-{number}.safetensors", stage, student, {})
            self.keep(self.results(number), judged.to_dict(), stamp)
            self.forget(number)
        return judged

    def train_stage(self, stage: Stage) -> tuple[nn.Module, Drifts]:
        """The student of a stage, from where a stopped run stands; and what 8 bits did to it before and after the last."""
        self._ask(stage)
        how, recipe = self.recipe.quantisation, self.recipe.training
        student = self._taught(stage.name, stage, stage.student.module, recipe, self.state(stage.fold))
        if not how.steps:
            return student, ()
        plan = self._plan(stage, student)
        training = quantisation.training_of(recipe, how)
        state = self.state(stage.fold, INT8)
        learned = self._taught(f"{stage.name}, 8 bits", stage, FakeQuantised(student, plan.places), training, state)
        student.load_state_dict(learned.get_submodule("student").state_dict())
        after = quantisation.drift(stage, student)
        return student, () if plan.before is None or after is None else (plan.before, after)

    def _taught(self, name: str, stage: Stage, student: nn.Module, training: Training, state: Path) -> nn.Module:
        """The moving average of a student's weights after its last step."""
        engine = self.train(name, stage.lesson(student, training.chunks), training, state)
        average: nn.Module = engine.average[STUDENT]
        return average

    def _plan(self, stage: Stage, student: nn.Module) -> Plan:
        """What 8 bits will do to the student: found once, by one process, and kept until the run ends."""
        path = self._plan_file(stage.fold)
        if processes.rank() == 0 and self.kept(path) is None:
            self.keep(path, quantisation.plan(stage, student).to_dict())
        processes.wait()
        kept = self.kept(path)
        processes.require_agreement(f"8 bits of {stage.name}: {kept is not None}", self.device)
        assert kept is not None
        return Plan.from_dict(kept)

    def _ask(self, stage: Stage) -> None:
        """Let the teacher speak, once."""

        def note(done: int, records: int, rate: float) -> None:
            self.progress(f"{stage.name}, teacher", done - 1, records, note=f"{rate:.0f} embeddings a second")

        stage.cache.fill(stage.draw, stage.teacher_rows, note)

    def _plan_file(self, fold: int | None) -> Path:
        return self.state(fold, INT8).with_suffix(".json")

    def forget(self, fold: int | None) -> None:
        for path in (self.state(fold), self.state(fold, INT8), self._plan_file(fold)):
            path.unlink(missing_ok=True)


INT8 = "int8-"
"""Before the names of what the last stage leaves."""


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
