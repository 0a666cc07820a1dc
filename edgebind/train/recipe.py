"""A recipe: all that decides what `edgebind bind` makes, as one TOML file.

[nodes.imu] ─── [[edges]] ─── [nodes.text]        a modality is a node, paired data an edge
                   │
         [[edges.data]] [[edges.prompts]] [[edges.questions]]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from edgebind.errors import OptionError
from edgebind.preprocess.videos import Sampling
from edgebind.prompts import in_templates
from edgebind.sources import units
from edgebind.train import limits, recipe_checks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


PRECISIONS = ("fp32", "bf16")
REPORT, MEASURED = "run.json", "measured.json"
"""What a run writes of itself when it has ended, and when only some of its folds were measured."""


@dataclass(frozen=True)
class Data:
    """One folder of labelled recordings."""

    reader: str
    """Which published layout it has, see the modules of `edgebind.train.data`."""
    path: str
    """Relative to the current folder."""
    folds: tuple[tuple[str, ...], ...] = ()
    """Groups (people, runs, dates) that are held out together, fold by fold, to measure what the tower makes of strangers."""
    parts: int = 0
    """Pairs without groups: cut into so many folds, in the order of their names, so that neighbours stay together."""
    folders: tuple[str, ...] = ()
    """Reader `folders`: the folder of the edge's first end, and of its second."""

    def __post_init__(self) -> None:
        if self.parts < 0 or self.parts == 1:
            raise OptionError("parts do not fit", where=self.path, wanted="at least 2, or none", got=self.parts)

    def held_out(self, fold: int | None) -> tuple[str, ...]:
        """The groups that fold `fold` neither trains on nor has ever seen; none when everything is learned."""
        return () if fold is None or fold >= len(self.folds) else self.folds[fold]


@dataclass(frozen=True)
class Prompts:
    """The prompts of one class; the first is the canonical one, which zero-shot labelling uses."""

    label: str
    texts: tuple[str, ...]
    share: float = 1.0
    """How often the class is drawn, relative to the others."""
    names: tuple[str, ...] = ()
    """Other names of the class, each to be put into every template of the edge."""

    def __post_init__(self) -> None:
        limits.above(f"share of class {self.label!r}", self.share, 0)

    def phrasings(self, templates: Sequence[str] = ()) -> tuple[str, ...]:
        """All that it is called, each once: its texts, then name by name in every template.

        Raises
        ------
        OptionError: names without templates, or a template without the one place for a name.
        """
        if self.names and not templates:
            wanted = 'templates = ["{}", "a thermal image of {}"] on the edge'
            raise OptionError(f"class {self.label!r} has names and no templates to put them in", wanted=wanted)
        named = in_templates(self.names, templates)
        return tuple(dict.fromkeys([*self.texts, *(text for _, texts in named for text in texts)]))


@dataclass(frozen=True)
class Question:
    """What the vectors are asked when accuracy is measured: which of these groups of classes is it?

    `[["person"], ["car", "bicycle"]]` asks whether something is a person; only items of the named classes are asked about.
    """

    name: str
    groups: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.groups) < 2 or not all(self.groups):
            raise OptionError(f"question {self.name!r} asks nothing", wanted="two groups of classes", got=self.groups)


@dataclass(frozen=True)
class Training:
    """How the weights are found."""

    steps: int
    batch: int
    learning_rate: float
    """Largest; reached after the warm-up, and brought to zero by half a cosine."""
    weight_decay: float = 0.05
    warmup_steps: int = 50
    betas: tuple[float, ...] = (0.9, 0.95)
    clip: float = 1.0
    """Largest norm of a gradient."""
    average: float = 0.99
    """Decay of the moving average of the weights, which is what is kept."""
    chunk: int = 0
    """Items that pass through a tower at once; 0 takes the whole batch. Smaller chunks need less memory and give the same
    gradient (gradient caching); BatchNorm sees a chunk at a time. With several processes each takes its share of chunks."""
    precision: str = "fp32"
    """Of the towers' forward pass: `fp32`, or `bf16` by autocast; vectors and losses are always float32."""
    save_every: int = 100
    """Steps between two states from which a stopped run goes on."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise OptionError("unknown training.precision", wanted=" or ".join(PRECISIONS), got=repr(self.precision))
        limits.at_least("training.chunk", self.chunk, 0)
        if self.chunk and self.batch % self.chunk:
            raise OptionError(
                "training.batch is not made of whole chunks", wanted=f"a multiple of {self.chunk}", got=self.batch
            )
        # A batch of one has nothing to tell apart.
        for name, least in (("steps", 1), ("batch", 2), ("save_every", 1), ("warmup_steps", 0), ("weight_decay", 0)):
            limits.at_least(f"training.{name}", getattr(self, name), least)
        for name in ("learning_rate", "clip"):
            limits.above(f"training.{name}", getattr(self, name), 0)
        if len(self.betas) != 2:
            raise OptionError("training.betas do not fit", wanted="two numbers", got=list(self.betas))
        for value in (*self.betas, self.average):
            limits.share("training.betas or average", value, whole=False)

    @property
    def chunks(self) -> int:
        """How many chunks a batch is made of."""
        return self.batch // (self.chunk or self.batch)

    @property
    def chunk_size(self) -> int:
        """Items in a chunk."""
        return self.chunk or self.batch


@dataclass(frozen=True)
class Node:
    """One modality of the space, and the tower that speaks for it."""

    modality: str
    tower: str
    """A student's name (see `edgebind.models.students`), `imagebind`, `sentences`, `bundle` or `cached`."""
    checkpoint: str = ""
    """Weights to begin with: a file for students and `imagebind`, a folder for `sentences` and `bundle`, an NPZ of
    `edgebind embed` for `cached`. Empty: fresh weights, or the packaged sentence encoder."""
    frozen: bool = False
    """Whether its weights stay as they are; what is not a network is always frozen."""
    linear_head: bool = False
    """Put a fresh Linear at the end of a tower that brings weights: all that learns where the tower is frozen."""
    window: dict[str, Any] = field(default_factory=dict)
    preprocess: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
    """Constants of the modality's augmentation; see its task."""
    video: Sampling = field(default_factory=Sampling)
    """Of vision: which frames stand for a video file; `{ clips = 1, frames = 1 }` is the picture in its middle."""
    units: str = ""
    """Of a camera's pictures, as `--units` has them: `mm` of depth, `cK` of thermal. Empty: metres, °C or grey levels."""

    def __post_init__(self) -> None:
        if self.units:
            units.parse(f"{self.modality}={self.units}")
        if self.modality != "vision" and self.video != Sampling():
            raise OptionError("only vision reads videos", wanted=f"no video for {self.modality}", got=self.video)


@dataclass(frozen=True)
class Edge:
    """Paired data of two modalities, and how strongly it binds them."""

    ends: tuple[str, ...]
    """Names of two nodes: the sensor, then its anchor."""
    data: tuple[Data, ...]
    temperature: float
    """ImageBind's paper: audio .05, depth .2, thermal .1, IMU .2."""
    learn_temperature: bool = False
    """The paper found fixed ones better."""
    weight: float = 1.0
    """Of this edge's loss beside the others'."""
    smoothing: float = 0.0
    """Share of the target spread over the whole batch."""
    prompts: tuple[Prompts, ...] = ()
    """Where the anchor is text and the data has classes."""
    templates: tuple[str, ...] = ()
    """What the names of every class are put into, `a thermal image of {}`: so that wording says nothing about the class."""
    questions: tuple[Question, ...] = ()
    prompt_weight: float = 0.0
    """Weight of the cross-entropy against the canonical prompts, beside InfoNCE."""
    unseen: str = ""
    """A TOML file with other words for the classes, under the name of the first end: never trained on, but asked as well."""

    def __post_init__(self) -> None:
        limits.above("temperature of an edge", self.temperature, 0)
        limits.at_least("weight of an edge", self.weight, 0)
        limits.at_least("prompt_weight of an edge", self.prompt_weight, 0)
        limits.share("smoothing of an edge", self.smoothing, whole=False)
        limits.classes([one.label for one in self.prompts])

    @property
    def name(self) -> str:
        """How reports call it."""
        return "-".join(self.ends)

    @property
    def phrasings(self) -> list[tuple[str, ...]]:
        """Class by class all of its prompts, the canonical one first; see `Prompts.phrasings`."""
        return [prompts.phrasings(self.templates) for prompts in self.prompts]

    @property
    def folds(self) -> int:
        """How many folds its data has."""
        return max((len(data.folds) or data.parts for data in self.data), default=0)


@dataclass(frozen=True)
class Alignment:
    """Held-out pairs of two modalities that need share no edge: how near do they come all the same?"""

    ends: tuple[str, ...]
    data: tuple[Data, ...]


@dataclass(frozen=True)
class Recipe:
    """A graph: modalities are nodes, paired data are edges; N - 1 edges bind N modalities."""

    space: str
    seed: int
    out: str
    """Run folder, relative to the current folder."""
    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    training: Training
    alignments: tuple[Alignment, ...] = ()
    dim: int = 0
    """Length of a vector; 0 takes that of the towers that bring their weights."""
    licence: str = ""
    """Of the weights that come out."""

    def __post_init__(self) -> None:
        limits.named("out", self.out)
        limits.at_least("seed", self.seed, 0)
        limits.at_least("dim", self.dim, 0)

    @property
    def folds(self) -> int:
        """How many folds there are to measure."""
        return max((edge.folds for edge in self.edges), default=0)


def read(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    OptionError: missing, not TOML, or a key that is missing, unknown or of the wrong type.
    """
    table = read_toml(path, "the recipe")
    recipe: Recipe = from_table(Recipe, table, where=str(path))
    recipe_checks.check(recipe, path)
    return recipe


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file, which messages call `what`.

    Raises
    ------
    OptionError: missing, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{what} cannot be read: {error.strerror}", where=path) from error
    except ValueError as error:  # tomllib.TOMLDecodeError, or bytes that are no text
        raise OptionError(f"{what} is no TOML: {error}", where=path) from error


def read_unseen(edge: Edge) -> list[tuple[str, ...]]:
    """Other words for an edge's classes, bank by bank: the first text of every class, the second of every class, ...

    Raises
    ------
    OptionError: no such file, or a class of the edge that it has no words for.
    """
    if not edge.unseen:
        return []
    path, key = Path(edge.unseen), edge.ends[0]
    table = read_toml(path, "the file of unseen prompts")
    entries: tuple[Prompts, ...] = tuple(
        from_table(Prompts, entry, where=edge.unseen, prefix=f"{key}.") for entry in table.get(key, [])
    )
    texts = {entry.label: entry.phrasings() for entry in entries}
    absent = [prompts.label for prompts in edge.prompts if not texts.get(prompts.label)]
    if absent:
        raise OptionError(f"no unseen words for class {absent[0]!r}", where=path, wanted=f"[[{key}]] with that label")
    banks = min(len(texts[prompts.label]) for prompts in edge.prompts)
    return [tuple(texts[prompts.label][at] for prompts in edge.prompts) for at in range(banks)]


def report_of(folder: str | Path) -> Path | None:
    """What a run folder says of itself: of the whole run if that has ended, else of some folds; None if of nothing."""
    return next((Path(folder) / name for name in (REPORT, MEASURED) if (Path(folder) / name).is_file()), None)


def from_table(kind: type, table: Mapping[str, Any], *, where: str, prefix: str = "") -> Any:
    """Build the dataclass `kind` from a TOML table, key by key and type by type.

    Raises
    ------
    OptionError: a key that is missing, unknown or of the wrong type.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise OptionError(f"unknown key {prefix + unknown[0]!r}", where=where, wanted=", ".join(hints), got=unknown[0])
    optional = {f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING}
    missing = [name for name in hints if name not in table and name not in optional]
    if missing:
        raise OptionError(f"key {prefix + missing[0]!r} is missing", where=where)
    return kind(**{key: _value(hints[key], value, where, prefix + key) for key, value in table.items()})


def _value(hint: Any, value: Any, where: str, key: str) -> Any:
    origin = get_origin(hint)
    if origin is tuple and isinstance(value, list):
        inner = get_args(hint)[0]
        return tuple(_value(inner, item, where, f"{key}[{at}]") for at, item in enumerate(value))
    if isinstance(value, dict) and isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return from_table(hint, value, where=where, prefix=f"{key}.")
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    if origin is dict and isinstance(value, dict):
        inner = get_args(hint)[1]
        if inner is Any:
            return value
        return {name: _value(inner, item, where, f"{key}.{name}") for name, item in value.items()}
    raise OptionError(f"key {key!r} has the wrong type", where=where, wanted=hint, got=type(value).__name__)
