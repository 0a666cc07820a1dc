"""A recipe of `edgebind distil`: a teacher, a student, what both look at, and what the student is told about it.

[teacher] ── vectors, cached once ──┐
                                    ├── [losses] ── [training] ── [quantisation]
[student] ── vectors ───────────────┘
      │
  [[data]]  [[prompts]]  [[questions]]        prompts only where the data has classes
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgebind import modality as modalities
from edgebind.errors import OptionError
from edgebind.train import limits, recipe_checks
from edgebind.train.recipe import (
    PRECISIONS,
    Data,
    Edge,
    Node,
    Prompts,
    Question,
    Recipe,
    Training,
    from_table,
    read_toml,
    report_of,
)


@dataclass(frozen=True)
class Teacher:
    """Whose vectors the student learns."""

    checkpoint: str
    """A run folder of `edgebind bind`, whose fold towers then teach the folds; one tower of it; a bundle's folder; or
    ImageBind's weights."""
    node: str = ""
    """Of a run in which several nodes learned: whose tower."""
    precision: str = "fp32"
    """Of the teacher's forward pass: `fp32`, or `bf16` by autocast."""
    window: dict[str, Any] = field(default_factory=dict)
    """What ImageBind's tower is to see, where that is not ImageBind's own; other teachers know theirs."""
    preprocess: dict[str, Any] = field(default_factory=dict)
    """Likewise."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise OptionError("unknown teacher.precision", wanted=" or ".join(PRECISIONS), got=repr(self.precision))


@dataclass(frozen=True)
class Cache:
    """The teacher's vectors on disk: each record is some augmented items, and the seed that draws them again."""

    records: int
    """How many; an epoch goes once through all of them."""
    record: int = 32
    """Items in a record; a chunk of the training is made of whole records."""
    shard: int = 64
    """Records in a file, which is whole or not there: so much is done again after a crash."""
    path: str = ""
    """Folder, relative to the current folder; empty: `cache` in the run folder. Recipes that differ in nothing the teacher
    sees may share it."""

    def __post_init__(self) -> None:
        for name in ("records", "record", "shard"):
            if getattr(self, name) < 1:
                raise OptionError(f"cache.{name} is too small", wanted="at least 1", got=getattr(self, name))


@dataclass(frozen=True)
class Losses:
    """Weights of what the student is told; 0 leaves a part out."""

    affinity: float = 1.0
    """To find alike what the teacher finds alike, among the teacher's vectors of the batch."""
    prompt_affinity: float = 0.0
    """The same among the canonical prompts: to answer as the teacher does, doubts included."""
    contrast: float = 1.0
    """To find the teacher's own vector of an item among those of the batch."""
    mse: float = 1.0
    """To lie where the teacher's vector lies."""
    prompts: float = 0.0
    """InfoNCE against random prompts of the item's class, as in `edgebind bind`."""
    labels: float = 0.0
    """Cross-entropy against the canonical prompts."""
    temperature: float = 0.1
    """That cosines of two vectors of the sensor are divided by."""
    prompt_temperature: float = 0.0
    """That cosines to prompts are divided by; 0 takes the teacher's own."""
    smoothing: float = 0.0
    """Share of the targets of `prompts` and `labels` that is spread over all."""

    def __post_init__(self) -> None:
        limits.share("losses.smoothing", self.smoothing, whole=False)
        weights = self.weights
        if min(weights.values()) < 0 or max(weights.values()) == 0:
            raise OptionError("losses without weight", wanted="none below 0, one above", got=weights)
        if self.temperature <= 0 or self.prompt_temperature < 0:
            raise OptionError("losses.temperature is too small", wanted="above 0", got=self.temperature)

    @property
    def weights(self) -> dict[str, float]:
        """Name of each part -> its weight."""
        names = ("affinity", "prompt_affinity", "contrast", "mse", "prompts", "labels")
        return {name: getattr(self, name) for name in names}

    @property
    def need_prompts(self) -> bool:
        """Whether any part compares with words."""
        return max(self.prompt_affinity, self.prompts, self.labels) > 0


@dataclass(frozen=True)
class Quantisation:
    """The last stage, in which the student learns to bear 8 bits."""

    steps: int = 0
    """0 leaves the stage out."""
    learning_rate: float = 1e-4
    """Largest; as in the training before it."""
    windows: int = 256
    """Items of the training from which the ranges are taken."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.learning_rate <= 0 or self.windows < 16:
            wanted = "steps >= 0, learning_rate > 0, windows >= 16"
            raise OptionError("a quantisation that cannot be", wanted=wanted, got=asdict(self))


@dataclass(frozen=True)
class DistilRecipe:
    """All that decides what `edgebind distil` makes."""

    seed: int
    out: str
    """Run folder, relative to the current folder."""
    teacher: Teacher
    student: Node
    """Its `window` may be left out: then it is the teacher's."""
    cache: Cache
    training: Training
    data: tuple[Data, ...] = ()
    """May be left out where a run of `edgebind bind` teaches: then it is the teacher's own data, with its prompts, questions,
    unseen words and augmentation."""
    losses: Losses = field(default_factory=Losses)
    text: Node = field(default_factory=lambda: Node("text", "sentences", frozen=True))
    """What speaks for the prompts, in the teacher's space."""
    prompts: tuple[Prompts, ...] = ()
    """Where the data has classes."""
    templates: tuple[str, ...] = ()
    """See `edgebind.train.recipe.Edge.templates`."""
    questions: tuple[Question, ...] = ()
    unseen: str = ""
    """See `edgebind.train.recipe.Edge.unseen`."""
    quantisation: Quantisation = field(default_factory=Quantisation)
    licence: str = ""
    """Of the weights that come out."""

    def __post_init__(self) -> None:
        limits.named("out", self.out)
        limits.at_least("seed", self.seed, 0)

    @property
    def edge(self) -> Edge:
        """The data and its prompts, as `edgebind bind` knows them."""
        ends = (self.student.modality, "text")
        return Edge(
            ends,
            self.data,
            temperature=1.0,
            prompts=self.prompts,
            templates=self.templates,
            questions=self.questions,
            unseen=self.unseen,
        )

    @property
    def folds(self) -> int:
        """How many folds there are to measure."""
        return self.edge.folds

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read(path: Path) -> DistilRecipe:
    """Read a recipe.

    Raises
    ------
    OptionError: missing, not TOML, or a key that is missing, unknown, of the wrong type or that does not fit the others.
    """
    recipe: DistilRecipe = from_table(DistilRecipe, read_toml(path, "the recipe"), where=str(path))
    modalities.get(recipe.student.modality)
    if not recipe.data:
        recipe = _with_the_teachers_data(recipe, path)
    if recipe.losses.need_prompts and not recipe.prompts:
        wanted = "prompt_affinity, prompts and labels to be 0, or [[prompts]]"
        raise OptionError("losses need prompts", where=path, wanted=wanted)
    if recipe.text.modality != "text" or not recipe.text.frozen:
        raise OptionError("the text node does not fit", where=path, wanted='modality = "text", frozen = true')
    if recipe.training.chunk_size % recipe.cache.record:
        raise OptionError(
            "a chunk is not made of whole records",
            where=path,
            wanted=f"training.chunk (or batch) to be a multiple of {recipe.cache.record}",
            got=recipe.training.chunk_size,
        )
    recipe_checks.check_classes(recipe.edge, path)
    return recipe


def _with_the_teachers_data(recipe: DistilRecipe, path: Path) -> DistilRecipe:
    """What the teacher's own recipe says of the data, for a student that is to learn from the same."""
    own = report_of(recipe.teacher.checkpoint)
    if own is None:
        wanted = "at least one [[data]], or a finished run of edgebind bind as teacher"
        raise OptionError("a recipe without data", where=path, wanted=wanted, got=recipe.teacher.checkpoint)
    table = json.loads(own.read_text(encoding="utf-8"))["recipe"]
    taught: Recipe = from_table(Recipe, table, where=str(own))
    found = [
        (taught.nodes[edge.ends[0]], edge)
        for edge in taught.edges
        if edge.prompts
        and taught.nodes[edge.ends[0]].modality == recipe.student.modality
        and recipe.teacher.node in ("", edge.ends[0])
    ]
    if len(found) != 1:
        wanted = "[[data]], or a teacher with one labelled edge of this modality"
        raise OptionError("a recipe without data", where=path, wanted=wanted, got=f"{len(found)} such edges in {own}")
    node, edge = found[0]
    student = replace(recipe.student, augment=recipe.student.augment or node.augment)
    return replace(
        recipe,
        student=student,
        data=edge.data,
        prompts=recipe.prompts or edge.prompts,
        templates=recipe.templates if recipe.prompts else edge.templates,
        questions=recipe.questions or edge.questions,
        unseen=recipe.unseen or edge.unseen,
    )
