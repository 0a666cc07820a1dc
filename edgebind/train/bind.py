"""Binding: a tower learns to say what the frozen anchor says of the same thing.

    batch of windows -> tower -> vectors ─┐
                                          ├─ symmetric InfoNCE
    prompts of their classes -> anchor ───┘

The run folder holds `tower.safetensors` (for `edgebind export --checkpoint`) and `run.json` (held-out numbers, seed,
versions); while it runs, also a state from which the same command goes on after Ctrl-C or a crash.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import operator
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgebind import __version__, atomic
from edgebind.errors import EdgebindError, OptionError
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.models import students, tower_file
from edgebind.signals import Floats
from edgebind.train import accuracy, losses
from edgebind.train.accuracy import Answer
from edgebind.train.recipe import Recipe, from_table
from edgebind.train.task import Task

Encode = Callable[[tuple[str, ...]], Floats]
Progress = Callable[[str, int, int, float], None]
"""Called with the stage, the step, the number of steps and the loss."""
Results = dict[str, dict[str, Answer]]
"""Variant of the held-out items -> question -> answer."""

SAVE_EVERY = 100
"""Steps between two states from which a run can go on."""


@dataclass(frozen=True)
class Texts:
    """The anchor's vectors of every prompt in a recipe."""

    vectors: Tensor
    """(prompts of all classes, dim)."""
    first: Tensor
    """(classes,) row of each class's canonical prompt."""
    counts: Tensor
    """(classes,) prompts of each class."""

    @property
    def canonical(self) -> Tensor:
        return self.vectors[self.first]

    def draw(self, labels: Tensor, rng: np.random.Generator) -> Tensor:
        """(batch, dim): for each label one of its class's prompts."""
        chance = torch.from_numpy(rng.random(len(labels)))
        return self.vectors[self.first[labels] + (chance * self.counts[labels]).long()]


class Run:
    """One binding in progress: the tower, its moving average, the optimiser and where chance stands."""

    def __init__(self, recipe: Recipe, task: Task, texts: Texts) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.task, self.texts = recipe, task, texts
        self.tower = students.build(recipe.student, dim=texts.vectors.shape[1])
        self.average = copy.deepcopy(self.tower).eval()
        self.optimiser = _optimiser(self.tower, recipe)
        self.step = 0

    def advance(self) -> float:
        """One step; returns its loss.

        Raises
        ------
        EdgebindError: the loss is no number.
        """
        how = self.recipe.training
        for group in self.optimiser.param_groups:
            group["lr"] = how.learning_rate * _schedule(self.step, how.warmup_steps, how.steps)
        loss = self._loss()
        value = loss.item()
        if not math.isfinite(value):
            raise EdgebindError(f"the loss at step {self.step} is {value}", remedy="lower training.learning_rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.tower.parameters(), how.clip)
        self.optimiser.step()
        self._follow(min(how.average, (self.step + 1) / (self.step + 10)))
        self.step += 1
        return value

    def _loss(self) -> Tensor:
        how = self.recipe.training
        inputs, labels = self.task.batch(how.batch)
        self.tower.train()
        vectors = self.tower(inputs)
        anchors = self.texts.draw(labels, self.task.rng)
        loss = losses.symmetric_info_nce(
            vectors, anchors, losses.same_class(labels), temperature=how.temperature, smoothing=how.smoothing
        )
        if how.prompt_weight:
            one_hot = nn.functional.one_hot(labels, len(self.recipe.prompts)).float()
            loss = loss + how.prompt_weight * losses.prompt_cross_entropy(
                vectors, self.texts.canonical, one_hot, temperature=how.temperature, smoothing=how.smoothing
            )
        return loss

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        for kept, new in zip(self.average.state_dict().values(), self.tower.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)

    def save(self, path: Path) -> None:
        """Write everything the next step depends on."""
        state = {
            "tower": self.tower.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "torch": torch.get_rng_state(),
            "numpy": json.dumps(self.task.rng.bit_generator.state),
            "recipe": repr(self.recipe),
        }
        with atomic.file(path) as scratch:
            torch.save(state, scratch)

    def restore(self, path: Path) -> None:
        """Stand where `save` stood.

        Raises
        ------
        OptionError: the state belongs to another recipe.
        """
        state = torch.load(path, weights_only=True)
        if state["recipe"] != repr(self.recipe):
            raise OptionError(
                "the run in progress has another recipe", where=path, remedy="remove it or name another out"
            )
        self.tower.load_state_dict(state["tower"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        torch.set_rng_state(state["torch"])
        self.task.rng.bit_generator.state = json.loads(state["numpy"])


def bind(
    recipe: Recipe, encode: Encode, *, progress: Progress = lambda stage, step, steps, loss: None
) -> dict[str, Any]:
    """Measure the recipe fold by fold, then train its tower on everything, and write the run folder.

    The numbers come from towers that never saw the people, runs or dates they are judged on; the tower that is kept has
    learned from all of them, by the same recipe.

    Parameters
    ----------
    encode: the frozen anchor, prompts -> (prompts, dim) unit rows.

    Returns
    -------
    What `run.json` holds.

    Raises
    ------
    OptionError, RecordingError: a recipe or data that cannot be used.
    StorageError: the run folder cannot be written.
    """
    out = Path(recipe.out)
    texts = _embed(recipe, encode)
    folds = [_fold(recipe, fold, texts, progress) for fold in range(recipe.folds)]
    run = _train(Run(recipe, open_task(recipe, None), texts), out / "state.pt", "everything", progress)
    report = _report(recipe, folds)
    _write(out, run, report)
    # Kept only as long as the run may have to go on: the next run measures again, whatever has changed since.
    for kept in (out / "state.pt", *(out / f"fold-{fold}.json" for fold in range(recipe.folds))):
        kept.unlink(missing_ok=True)
    return report


def open_task(recipe: Recipe, fold: int | None) -> Task:
    """Read the recipe's data; `fold` is held out, or nothing when it is None.

    Raises
    ------
    OptionError: the modality cannot be bound yet, a reader does not exist, or a class has no data.
    RecordingError: data that cannot be read.
    """
    if recipe.modality == "imu":
        from edgebind.train.imu import ImuTask

        return ImuTask(recipe, fold)
    if recipe.modality == "thermal":
        from edgebind.train.thermal import ThermalTask

        return ThermalTask(recipe, fold)
    raise OptionError(
        "no labelled data can be read for this modality yet", wanted="imu or thermal", got=recipe.modality
    )


def _fold(recipe: Recipe, fold: int, texts: Texts, progress: Progress) -> Results:
    """What a tower that never saw fold `fold` makes of it. Kept on disk, so that a stopped run does not repeat it."""
    kept = Path(recipe.out) / f"fold-{fold}.json"
    if kept.is_file():
        table = json.loads(kept.read_text(encoding="utf-8"))
        if table["recipe"] == repr(recipe):
            return {v: {t: Answer.from_dict(r) for t, r in tasks.items()} for v, tasks in table["results"].items()}
    state = kept.with_suffix(".pt")
    run = _train(Run(recipe, open_task(recipe, fold), texts), state, f"fold {fold + 1} of {recipe.folds}", progress)
    results = _judge(run)
    plain = {v: {t: r.to_dict() for t, r in tasks.items()} for v, tasks in results.items()}
    with atomic.file(kept) as scratch:
        scratch.write_text(json.dumps({"recipe": repr(recipe), "results": plain}), encoding="utf-8")
    state.unlink(missing_ok=True)
    return results


def _train(run: Run, state: Path, stage: str, progress: Progress) -> Run:
    if state.is_file():
        run.restore(state)
    while run.step < run.recipe.training.steps:
        progress(stage, run.step, run.recipe.training.steps, run.advance())
        if run.step % SAVE_EVERY == 0:
            run.save(state)
    return run


def _embed(recipe: Recipe, encode: Encode) -> Texts:
    counts = [len(prompts.texts) for prompts in recipe.prompts]
    if not counts or min(counts) == 0:
        raise OptionError("every class needs a prompt", wanted="at least one text in each [[prompts]]")
    vectors = torch.from_numpy(encode(tuple(text for prompts in recipe.prompts for text in prompts.texts)))
    first = torch.tensor([0, *np.cumsum(counts)[:-1].tolist()])
    return Texts(vectors, first, torch.tensor(counts))


def _optimiser(tower: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Biases and norms are not decayed: pulling a scale towards zero only fights the layer before it.
    decayed = [p for p in tower.parameters() if p.ndim > 1]
    plain = [p for p in tower.parameters() if p.ndim <= 1]
    how = recipe.training
    groups = [{"params": decayed, "weight_decay": how.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    first, second = how.betas
    return torch.optim.AdamW(groups, lr=how.learning_rate, betas=(first, second))


def _schedule(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _judge(run: Run) -> Results:
    canonical = run.texts.canonical.numpy()
    labels = [prompts.label for prompts in run.recipe.prompts]
    results: Results = {}
    for held in run.task.held_out():
        vectors = embed(run.average, held.inputs)
        asked = {q.name: accuracy.ask(q, vectors, held.labels, canonical, labels) for q in run.recipe.questions}
        results[held.variant] = {name: answer for name, answer in asked.items() if answer is not None}
    return results


@torch.no_grad()
def embed(tower: nn.Module, inputs: Floats, batch: int = 512) -> Floats:
    """(items, ...) -> (items, dim) unit rows, in eval mode."""
    tower.eval()
    pieces = [tower(torch.from_numpy(inputs[at : at + batch])).numpy() for at in range(0, len(inputs), batch)]
    return np.concatenate(pieces)


def _report(recipe: Recipe, folds: list[Results]) -> dict[str, Any]:
    return {
        "held_out": _pool(folds),
        "seed": recipe.seed,
        "data": [{"path": Path(data.path).name, "reader": data.reader, "folds": data.folds} for data in recipe.data],
        "versions": {
            "edgebind": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "threads": torch.get_num_threads(),
    }


def _pool(folds: list[Results]) -> dict[str, dict[str, Any]]:
    """Variant -> task -> figures over the items of all folds, and the balanced accuracy of each fold by itself."""
    pooled: dict[str, dict[str, Any]] = {}
    for variant in dict.fromkeys(v for results in folds for v in results):
        tasks = [results.get(variant, {}) for results in folds]
        pooled[variant] = {}
        for task in dict.fromkeys(t for results in tasks for t in results):
            parts = [results[task] for results in tasks if task in results]
            each = [round(accuracy.balanced(part.confusion), 4) for part in parts]
            pooled[variant][task] = {**functools.reduce(operator.add, parts).to_dict(), "folds": each}
    return pooled


def _write(out: Path, run: Run, report: dict[str, Any]) -> None:
    recipe = run.recipe
    info = tower_file.TowerInfo(
        space=recipe.space,
        modality=recipe.modality,
        student=recipe.student,
        dim=int(run.texts.vectors.shape[1]),
        logit_scale=1 / recipe.training.temperature,
        window=from_table(WindowSpec, recipe.window, where=recipe.out, prefix="window."),
        preprocess=recipe.preprocess,
        provenance={"licence": recipe.licence, "seed": recipe.seed, "held_out": _headline(report)},
    )
    bank = LabelBank(tuple(prompts.texts[0] for prompts in recipe.prompts), run.texts.canonical.numpy())
    tower_file.write(out / "tower.safetensors", run.average, info, bank)
    with atomic.file(out / "run.json") as scratch:
        scratch.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _headline(report: dict[str, Any]) -> dict[str, float]:
    return {
        " ".join(part for part in (variant, task) if part): figures["balanced_accuracy"]
        for variant, tasks in report["held_out"].items()
        for task, figures in tasks.items()
    }
