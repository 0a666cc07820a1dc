"""Every question of every data set, put to every encoder that can answer it.

models x data sets -> vectors (kept on disk) -> zero-shot, few-shot, retrieval, fusion, alignment -> results
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from edgebind.errors import OptionError
from edgebind.evaluate import one_sensor, two_sensors
from edgebind.evaluate.dataset import Classification, Recordings
from edgebind.evaluate.one_sensor import OneSensor
from edgebind.evaluate.results import Context, Result, Seen, Source


def evaluate(context: Context, sources: Sequence[Source]) -> list[Result]:
    """All results, data set by data set; what could not be asked stands in `context.left_out`.

    Raises
    ------
    OptionError: no encoder can answer any question, or nothing embeds the words of a space.
    BackendError, MissingDependencyError: an encoder cannot be run.
    """
    asking = OneSensor(context)
    everything: list[Seen] = []
    found: list[Result] = []
    for source in sources:
        seen: list[Seen] = []
        for one in _looked_at(context, source):
            seen.append(one.judged)
            found += asking.ask(one)
        found += _of_two(context, source, seen)
        everything += seen
    if context.wants("alignment"):
        found += two_sensors.shared_classes(everything)
    if not found:
        raise OptionError(
            "there is nothing that these models could be asked",
            wanted="a data set of a sensor that a model embeds, and a task that fits it",
            got="; ".join(context.left_out[:3]) or None,
        )
    return found


def _looked_at(context: Context, source: Source) -> Iterator[Seen]:
    """Each question about classes, as each encoder of its sensor sees it."""
    if not {"zero-shot", "few-shot", "fusion", "alignment"} & set(context.options.tasks):
        return
    questions: Sequence[Classification | Recordings] = (*source.dataset.classifications, *source.dataset.recordings)
    for question in questions:
        encoders = context.panel.of(question.modality)
        if not encoders:
            context.leave_out(f"{question.name}: no model embeds {question.modality}")
        for encoder in encoders:
            seen = one_sensor.see(context, source, question, encoder)
            if seen is not None:
                yield seen


def _of_two(context: Context, source: Source, seen: Sequence[Seen]) -> Iterator[Result]:
    if context.wants("retrieval") or context.wants("alignment"):
        yield from itertools.chain.from_iterable(
            two_sensors.ask(context, source, pairing) for pairing in source.dataset.pairings
        )
    if context.wants("fusion"):
        yield from two_sensors.sums_of_classes(context, seen)
        yield from two_sensors.sums_of_pairs(context, source)
