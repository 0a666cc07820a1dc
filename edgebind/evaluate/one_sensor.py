"""Questions about classes, put to the encoder of one sensor: zero-shot by prompts, few-shot by a linear probe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgebind.errors import OptionError, RecordingError
from edgebind.evaluate import few_shot, zero_shot
from edgebind.evaluate.dataset import Classification, Recordings
from edgebind.evaluate.encoder import Encoder
from edgebind.evaluate.few_shot import Shots
from edgebind.evaluate.panel import class_vectors
from edgebind.evaluate.results import Context, Result, Seen, Source, headline_of, some
from edgebind.evaluate.zero_shot import ZeroShot
from edgebind.signals import Floats


def see(context: Context, source: Source, question: Classification | Recordings, encoder: Encoder) -> Seen | None:
    """Embed a question's clips, or as many as the limit allows; None, and a word why, where none can be read.

    Raises
    ------
    OptionError: words are asked for, and nothing embeds them. It is told before hours of work, not after.
    """
    try:
        whole = question if isinstance(question, Classification) else question.classification(encoder.window)
        if context.wants("zero-shot") or context.wants("fusion"):
            class_vectors(context.panel, context.store, encoder, whole.prompts)
        if not context.wants("few-shot"):
            whole = whole.only(whole.judged)
        task = whole.only(some([clip.name for clip in whole.clips], context.options.limit))
        embedded = context.embed(encoder, task.clips, task.name, source)
    except RecordingError as error:
        context.leave_out(str(error))
        return None
    found = Seen(task.only(embedded.rows), encoder, embedded.vectors)
    if not found.task.judged:
        context.leave_out(f"{task.name}: every clip that can be read is there to learn from, and none to be judged")
        return None
    return found


class OneSensor:
    """Asks encoder after encoder, and compares each with the first that was asked the same."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._first: dict[str, tuple[tuple[str, ...], ZeroShot]] = {}

    def ask(self, seen: Seen) -> Iterator[Result]:
        """The results that the options want."""
        if self.context.wants("zero-shot"):
            yield self._zero_shot(seen.judged)
        if self.context.wants("few-shot"):
            yield from self._few_shot(seen)

    def _zero_shot(self, seen: Seen) -> Result:
        task, found = seen.task, answer(self.context, seen.task, seen.encoder, seen.vectors)
        details: dict[str, Any] = {"classes": list(task.classes)}
        if found.confusion is not None:
            details["confusion"] = found.confusion.tolist()
        return Result(
            task="zero-shot",
            subject=task.name,
            encoder=seen.encoder.name,
            items=len(task.clips),
            metrics=found.metrics | self._agreement(task, found),
            headline=headline_of(task),
            chance=chance(task),
            published=task.published,
            details=details,
        )

    def _agreement(self, task: Classification, found: ZeroShot) -> dict[str, float]:
        """Share of the items that the first encoder named alike, where both were asked about the same."""
        names = tuple(clip.name for clip in task.clips)
        first_names, first = self._first.setdefault(task.name, (names, found))
        if first is found or first_names != names:
            return {}
        return {"same as first": float((first.guesses == found.guesses).mean())}

    def _few_shot(self, seen: Seen) -> Iterator[Result]:
        points, options = self._curve(seen), self.context.options
        if not points:
            return
        metric = headline_of(seen.task)
        figures = [
            {"shots": p.shots, "mean": p.mean(metric), "spread": p.spread(metric), "each": p.metrics[metric]}
            for p in points
        ]
        yield Result(
            task="few-shot",
            subject=seen.task.name,
            encoder=seen.encoder.name,
            items=len(seen.task.judged),
            metrics={f"{point.shots} shots": point.mean(metric) for point in points},
            headline=f"{points[-1].shots} shots",
            chance={f"{point.shots} shots": chance(seen.task)[metric] for point in points},
            details={
                "metric": metric,
                "points": figures,
                "seeds": list(range(options.seed, options.seed + options.seeds)),
            },
        )

    def _curve(self, seen: Seen) -> list[Shots]:
        """None, and a word why, where the data allows no such draws."""
        task, options = seen.task, self.context.options
        try:
            found = few_shot.curve(
                seen.vectors,
                task.targets,
                len(task.classes),
                several=task.several,
                groups=task.groups,
                training=task.training,
                shots=options.shots,
                seeds=options.seeds,
                seed=options.seed,
            )
        except OptionError as error:
            self.context.leave_out(f"{task.name}: {error}")
            return []
        there = len({target for mine in task.targets for target in mine})
        if found and found[0].classes < there:
            line = (
                f"{found[0].classes} of {there} classes occur on both sides of a draw: few-shot is asked of those alone"
            )
            self.context.leave_out(f"{task.name}: {line}")
        missing = sorted(set(options.shots) - {point.shots for point in found})
        if missing:
            counts = ", ".join(map(str, missing))
            self.context.leave_out(f"{task.name}: some class has too few examples to learn from {counts} of each")
        return found


def answer(context: Context, task: Classification, encoder: Encoder, vectors: Floats) -> ZeroShot:
    """What the nearest class says of each item."""
    texts = [task.said(word) for mine in task.words for word in mine] if task.by_nearest else task.prompts
    scores = vectors @ class_vectors(context.panel, context.store, encoder, texts).T
    if task.by_nearest:
        counts = np.array([len(mine) for mine in task.words])
        scores = np.maximum.reduceat(scores, np.cumsum(counts) - counts, axis=1)
    return zero_shot.judge(scores, task.targets, several=task.several)


def chance(task: Classification) -> dict[str, float]:
    """What guessing gets of a classification."""
    return zero_shot.chance(task.targets, len(task.classes), several=task.several)
