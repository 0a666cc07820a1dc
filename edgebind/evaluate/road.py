"""The whole road of `edgebind evaluate`: models and data sets by their names -> report.json, report.html, plot.png."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from edgebind import atomic, drawing, utf8
from edgebind.errors import OptionError
from edgebind.evaluate import few_shot, page, prompt_file, report
from edgebind.evaluate.dataset import Classification, Dataset, Pairing, Recordings
from edgebind.evaluate.datasets import open_dataset
from edgebind.evaluate.encoders import HERE, Where
from edgebind.evaluate.evaluation import evaluate
from edgebind.evaluate.panel import Panel
from edgebind.evaluate.prompt_file import Question
from edgebind.evaluate.report import Report
from edgebind.evaluate.results import Context, Options, Source
from edgebind.evaluate.vectors import Progress, Store

VECTORS = "vectors"


@dataclass(frozen=True)
class Request:
    """Everything that decides an evaluation."""

    models: tuple[str, ...]
    """`PATH` or `NAME=PATH`; the first is what the others are compared with."""
    on: tuple[str, ...]
    """Data sets: `NAME:FOLDER` or `NAME@SPLIT:FOLDER`."""
    out: Path
    """Folder for the report."""
    text: Path | None = None
    """What embeds words, where no model does."""
    prompts: Path | None = None
    """Other words for the classes; see `edgebind.evaluate.prompt_file`."""
    templates: Path | None = None
    """Other sentences around the names of the classes; see there too."""
    cache: Path | None = None
    """Folder for vectors; OUT/vectors by default."""
    where: Where = HERE
    options: Options = field(default_factory=Options)


def run(request: Request, progress: Progress = lambda stage, step, steps: None) -> Report:
    """Evaluate, and write the report. A run that was stopped goes on where it stood: vectors are kept piece by piece.

    Raises
    ------
    OptionError: a model or data set that does not exist, words that fit nothing, or nothing that could be asked.
    RecordingError: a data set in another layout, or without any clip.
    BundleError, CheckpointError, BackendError: a model that is damaged or cannot be run here.
    MissingDependencyError: a package that is needed, before anything is computed.
    StorageError: the disk is full or cannot be written.
    """
    drawing.require()
    if "few-shot" in request.options.tasks:
        few_shot.require()
    atomic.require_place(request.out)
    asked_as = _other_words(request)
    with Panel(request.models, text=request.text, where=request.where) as panel:
        context = Context(panel, Store(request.cache or request.out / VECTORS, progress), request.options)
        sources = told_apart([_opened(spec, progress) for spec in dict.fromkeys(request.on)])
        if asked_as is not None:
            sources = _reworded(sources, asked_as, context)
        found = report.to_dict(context, sources, evaluate(context, sources), _words(request))
    report.write(request.out / report.FILE, found)
    page.write(request.out, found)
    return found


def _opened(spec: str, progress: Progress) -> Source:
    """Named by its whole path: another folder of the same name holds other clips. Opening may look into every file."""
    name, _, folder = spec.partition(":")
    progress(f"opening {name}", -1, 1)
    found = Source(f"{name}:{Path(folder).expanduser().resolve()}", open_dataset(spec))
    progress(f"opening {name}", 0, 1)
    return found


def told_apart(sources: Sequence[Source]) -> list[Source]:
    """Questions of one name that come from two splits or folders, each with its own behind the name."""
    counts = Counter(name for source in sources for name in _names(source.dataset))
    labels = Counter(source.spec.partition(":")[0] for source in sources)
    return [
        replace(source, dataset=_called(source, labels)) if counts[_names(source.dataset)[0]] > 1 else source
        for source in sources
    ]


def _names(dataset: Dataset) -> list[str]:
    questions: list[Question | Pairing] = [*dataset.classifications, *dataset.recordings, *dataset.pairings]
    return [one.name for one in questions]


def _called(source: Source, labels: Mapping[str, int]) -> Dataset:
    label, _, folder = source.spec.partition(":")
    suffix = f" ({label})" if labels[label] == 1 else f" ({label}:{utf8.shown(folder)})"
    of = source.dataset
    return replace(
        of,
        name=of.name + suffix,
        classifications=tuple(replace(one, name=one.name + suffix) for one in of.classifications),
        recordings=tuple(replace(one, name=one.name + suffix) for one in of.recordings),
        pairings=tuple(replace(one, name=one.name + suffix) for one in of.pairings),
    )


# --- in other words ---------------------------------------------------------------------------------------------------


Rewording = Callable[[Question], Question | None]
"""The same question in other words; None where they do not fit it."""


def _words(request: Request) -> dict[str, str | None]:
    """Which files the words come from, for the report."""
    files = {"prompts": request.prompts, "templates": request.templates}
    return {what: None if path is None else utf8.shown(str(path)) for what, path in files.items()}


def _other_words(request: Request) -> Rewording | None:
    if request.prompts is not None and request.templates is not None:
        raise OptionError("prompts are whole sentences, and templates are not for them", remedy="leave one of them out")
    if request.prompts is not None:
        return partial(prompt_file.reworded, texts=prompt_file.read(request.prompts))
    if request.templates is not None:
        return partial(prompt_file.retemplated, templates=prompt_file.read_templates(request.templates))
    return None


def _reworded(sources: Sequence[Source], asked_as: Rewording, context: Context) -> list[Source]:
    """Every question in other words; those that the words do not fit are left out."""
    questions = [question for source in sources for question in _of_classes(source.dataset)]
    if not any(_is_another(asked_as(question), question) for question in questions):
        got = "; ".join(_unfit(question) for question in questions[:3])
        raise OptionError("these words fit the classes of no data set", got=got or None)
    return [replace(source, dataset=_in_other_words(source.dataset, asked_as, context)) for source in sources]


def _of_classes(dataset: Dataset) -> list[Question]:
    return [*dataset.classifications, *dataset.recordings]


def _is_another(found: Question | None, question: Question) -> bool:
    return found is not None and found is not question


def _unfit(question: Question) -> str:
    named = ", ".join(question.classes[:10]) + (", ..." if len(question.classes) > 10 else "")
    return f"{question.name}: no words for {question.modality} of the classes {named}"


def _in_other_words(dataset: Dataset, asked_as: Rewording, context: Context) -> Dataset:
    questions = _of_classes(dataset)
    kept = [asked_as(question) for question in questions]
    for question, other in zip(questions, kept, strict=True):
        if other is None:
            context.leave_out(_unfit(question))
    return replace(
        dataset,
        classifications=tuple(one for one in kept if isinstance(one, Classification)),
        recordings=tuple(one for one in kept if isinstance(one, Recordings)),
    )
