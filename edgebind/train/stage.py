"""One stage of a distillation, a fold or everything: who teaches whom, about which items, in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgebind import modality as modalities
from edgebind.errors import OptionError
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.signals import Floats
from edgebind.train import identity, measure
from edgebind.train.data import samples, views
from edgebind.train.data.aligned import side_of
from edgebind.train.data.sources import LabelledSource, open_task
from edgebind.train.data.task import Samples, Task
from edgebind.train.data.unlabelled import UnlabelledSource
from edgebind.train.distil_recipe import DistilRecipe
from edgebind.train.lesson import LessonObjective, Words
from edgebind.train.measure import Measured
from edgebind.train.nodes import TWO_LENGTHS, Encode, NodeTower, open_nodes
from edgebind.train.recipe import Node, Recipe, from_table
from edgebind.train.run import EVERYTHING, name_of
from edgebind.train.teacher import OpenTeacher, open_teacher
from edgebind.train.teacher_cache import TeacherCache


@dataclass(frozen=True)
class Stage:
    """A student and its teacher before the same items."""

    recipe: DistilRecipe
    fold: int | None
    """What is held out; nothing when it is None."""
    device: torch.device
    teacher: OpenTeacher
    student: NodeTower
    """Fresh; `student.node.window` is what it sees."""
    window: WindowSpec
    """The student's."""
    drawn: Node
    """What is cut out of the data: a window that holds both sides', before any preprocessing."""
    source: Task | UnlabelledSource
    words: Words | None
    """Where the data has classes."""

    @property
    def name(self) -> str:
        return name_of(self.fold, self.recipe.folds)

    @property
    def stem(self) -> str:
        """Of file names."""
        return EVERYTHING if self.fold is None else f"fold-{self.fold}"

    @property
    def prompt_temperature(self) -> float:
        """That cosines to prompts are divided by."""
        return self.recipe.losses.prompt_temperature or 1 / self.teacher.logit_scale

    @property
    def bank(self) -> LabelBank:
        """The words that go with the student: those of its classes, or else its teacher's."""
        if self.words is None:
            return self.teacher.bank
        prompts = tuple(one.texts[0] for one in self.recipe.prompts)
        return LabelBank(prompts, self.words.canonical, self.teacher.space)

    def draw(self, size: int, rng: np.random.Generator) -> Samples:
        """Augmented items in physical units."""
        return _as_delivered(self.source.samples(size, rng), self.source)

    def held_out(self) -> list[Samples]:
        """What this stage's towers have never seen."""
        return [_as_delivered(held, self.source) for held in self.source.held_out_samples()]

    def measured(self, embedded: Sequence[tuple[Samples, Floats]]) -> Measured:
        """What the vectors of held-out items answer to the recipe's questions; nothing where there are no classes.

        Parameters
        ----------
        embedded: items, and their (items, dim) unit rows.
        """
        words, edge = self.words, self.recipe.edge
        if words is None:
            return Measured({}, {})
        answers = {
            held.variant: measure.answers(edge, rows, held.kinds, words.canonical, words.unseen)
            for held, rows in embedded
        }
        return Measured({edge.name: answers}, {})

    def student_inputs(self, items: Sequence[Any]) -> Tensor:
        """Items -> (items, ...) what the student reads of them."""
        return self.student.prepare(self._seen(items, self.window))

    def teacher_inputs(self, items: Sequence[Any]) -> Tensor:
        """Items -> (items, ...) what the teacher reads of them."""
        return self.teacher.prepare(self._seen(items, self.teacher.window))

    def teacher_rows(self, items: Sequence[Any]) -> Floats:
        """Items -> (items, dim) the teacher's unit rows."""
        half = self.recipe.teacher.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            return np.concatenate(
                [measure.rows_of(self.teacher.module, self.teacher_inputs(part), self.device) for part in _parts(items)]
            )

    def student_rows(self, student: nn.Module, items: Sequence[Any]) -> Floats:
        """Items -> (items, dim) unit rows of `student`."""
        return np.concatenate(
            [measure.rows_of(student, self.student_inputs(part), self.device) for part in _parts(items)]
        )

    @cached_property
    def cache(self) -> TeacherCache:
        """Where the teacher's vectors of this stage lie.

        Raises
        ------
        OptionError: they are of another teacher, recipe or data.
        """
        recipe = self.recipe
        folder = Path(recipe.cache.path) if recipe.cache.path else Path(recipe.out) / "cache"
        classes = [(one.label, one.share) for one in recipe.prompts]
        known = {
            "teacher": {**self.teacher.identity, "precision": recipe.teacher.precision},
            **identity.of_data(recipe.data, self.fold),
            "way of drawing": repr(
                (self.drawn.window, *self._camera, self.drawn.augment, classes, *self._way_of_videos)
            ),
        }
        return TeacherCache(folder / self.stem, recipe.cache, seed=recipe.seed, identity=known)

    @property
    def _camera(self) -> tuple[Any, ...]:
        """What decides how a frame is augmented, beside its constants: its pixels, and of depth what a disparity is."""
        how, modality = self.drawn.preprocess, self.drawn.modality
        if modality == "depth":
            return how.get("size"), self.drawn.units, *(how.get(name) for name in ("baseline", "focal", "far"))
        if self.drawn.units:
            return how.get("size"), self.drawn.units
        return (how.get("size") if modalities.get(modality).is_camera else None,)

    @property
    def _way_of_videos(self) -> tuple[Any, ...]:
        """Only of what has any, so that the caches of other sensors stay what they were."""
        return (asdict(self.drawn.video),) if self.drawn.modality == "vision" else ()

    def lesson(self, student: nn.Module, chunks: int) -> LessonObjective:
        """What `student` is told, `chunks` chunks a step; the cache must be full."""
        return LessonObjective(
            student,
            self.recipe.losses,
            chunks=chunks,
            cache=self.cache.open(),
            draw=self.draw,
            prepare=self.student_inputs,
            words=self.words,
            prompt_temperature=self.prompt_temperature,
        ).to(self.device)

    def _seen(self, items: Sequence[Any], window: WindowSpec) -> Sequence[Any]:
        if self.student.node.modality != "imu":
            return items
        drawn: WindowSpec = _window(self.drawn.window)
        for item in items:
            if item.shape[1] != drawn.length:
                wanted = f"{drawn.length} samples: {drawn.seconds:g} s at {drawn.rate_hz:g} Hz"
                raise OptionError("a window of another length than what is drawn", wanted=wanted, got=item.shape[1])
        return [views.middle(item, drawn, window) for item in items]


def open_stage(recipe: DistilRecipe, fold: int | None, device: torch.device, encode: Encode | None) -> Stage:
    """Load a teacher, make a student, and read the data.

    Parameters
    ----------
    encode: stands in for the sentence encoder.

    Raises
    ------
    OptionError: sides that do not fit each other, an unknown student or reader, or a class without data.
    CheckpointError, BundleError: a teacher that cannot be loaded.
    RecordingError: data that cannot be read.
    """
    modality = recipe.student.modality
    teacher = open_teacher(recipe.teacher, modality, fold)
    teacher.module.to(device)
    window = _window(recipe.student.window) if recipe.student.window else teacher.window
    node = replace(recipe.student, window=_table(window))
    nodes = _open_nodes(recipe, node, teacher, encode)
    drawn = _drawn_node(node, window, teacher)
    source: Task | UnlabelledSource
    words = None
    if recipe.prompts:
        source = open_task(replace(nodes[modality], node=drawn), recipe.edge, fold)
        words = _words(LabelledSource(source, recipe.edge, nodes["text"]), nodes["text"].module.to(device), device)
    else:
        source = UnlabelledSource(recipe.data, drawn, fold)
    return Stage(recipe, fold, device, teacher, nodes[modality], window, drawn, source, words)


def _open_nodes(recipe: DistilRecipe, node: Node, teacher: OpenTeacher, encode: Encode | None) -> dict[str, NodeTower]:
    """The student, and what speaks for the words it will be asked in: nodes of a graph whose space is the teacher's."""
    named = {node.modality: node, **({"text": recipe.text} if recipe.prompts else {})}
    graph = Recipe(teacher.space, recipe.seed, recipe.out, named, (recipe.edge,), recipe.training)
    try:
        return open_nodes(replace(graph, dim=teacher.dim), encode)
    except OptionError as error:
        if error.what != TWO_LENGTHS:
            raise
        raise OptionError(
            "the words lie in another space than the teacher's vectors",
            where=recipe.teacher.checkpoint,
            wanted=f"vectors of {teacher.dim} entries",
            got=error.got,
        ) from error


def _drawn_node(node: Node, window: WindowSpec, teacher: OpenTeacher) -> Node:
    preprocess = node.preprocess
    if node.modality == "imu":
        window = views.drawn_window(window, teacher.window)
    if modalities.get(node.modality).is_camera:  # in as many pixels as the side that sees more of them wants
        preprocess = {**preprocess, "size": max(side_of(preprocess), side_of(teacher.preprocess))}
    if node.modality == "audio" and (heard := samples.rate_of(node)) != (rate := _rate_of(teacher)):
        raise OptionError("student and teacher hear at other rates", wanted=f"{rate} Hz", got=f"{heard} Hz")
    return replace(node, window=_table(window), preprocess=preprocess)


def _rate_of(teacher: OpenTeacher) -> int:
    return samples.rate_of(Node(teacher.modality, "", preprocess=teacher.preprocess))


def _words(source: LabelledSource, anchor: nn.Module, device: torch.device) -> Words:
    texts, canonical, *unseen = (
        measure.rows_of(anchor, inputs, device) for inputs in (source.inputs, source.canonical, *source.unseen)
    )
    return Words(source, texts, canonical, tuple(unseen))


def _as_delivered(samples: Samples, source: Task | UnlabelledSource) -> Samples:
    """Levels that were computed as numbers, as the camera would send them: other floats would be taken for °C."""
    from edgebind.train.data.thermal import ThermalTask

    if not isinstance(source, ThermalTask):
        return samples
    levels = [np.round(np.clip(level, 0, 1) * 255).astype(np.uint8) for level in samples.items]
    return replace(samples, items=levels)


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[at : at + measure.BATCH] for at in range(0, len(items), measure.BATCH)]


def _window(table: dict[str, Any]) -> WindowSpec:
    spec: WindowSpec = from_table(WindowSpec, table, where="recipe", prefix="student.window.")
    return spec


def _table(spec: WindowSpec) -> dict[str, Any]:
    """As TOML has it."""
    return {**asdict(spec), "channels": list(spec.channels), "units": list(spec.units)}
