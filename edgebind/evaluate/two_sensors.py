"""Questions about two sensors of one space: retrieval, emergent alignment, and what they say together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgebind.errors import RecordingError
from edgebind.evaluate import alignment, fusion, retrieval
from edgebind.evaluate.dataset import Pairing, Published
from edgebind.evaluate.encoder import Encoder
from edgebind.evaluate.one_sensor import answer, chance
from edgebind.evaluate.results import Context, Result, Seen, Source, headline_of, some
from edgebind.signals import Floats


@dataclass(frozen=True, eq=False)
class Both:
    """Both sides of a pairing, as two encoders saw them."""

    pairing: Pairing
    left: Floats
    right: Floats
    label: str
    """How reports call the two."""


def see(context: Context, source: Source, whole: Pairing, encoders: tuple[Encoder, Encoder]) -> Both | None:
    """Embed both sides, or as much of them as the limit allows; None, and a word why, where no pair can be read."""
    pairing, (one, other) = _fewer(whole, context.options.limit), encoders
    try:
        left = context.embed(one, pairing.left, f"{pairing.name} {pairing.left_modality}", source)
        right = context.embed(other, pairing.right, f"{pairing.name} {pairing.right_modality}", source)
    except RecordingError as error:
        context.leave_out(str(error))
        return None
    found = Both(pairing.only(left.rows, right.rows), left.vectors, right.vectors, label_of(one, other))
    if not found.pairing.pairs:
        context.leave_out(f"{pairing.name}: of no pair can both sides be read")
        return None
    return found


def ask(context: Context, source: Source, pairing: Pairing) -> Iterator[Result]:
    """Retrieval both ways; and of two sensors, neither of which is words, how far they align."""
    encoders = context.panel.together(pairing.left_modality, pairing.right_modality)
    if not encoders:
        sides = f"{pairing.left_modality} and {pairing.right_modality}"
        context.leave_out(f"{pairing.name}: no models of one space embed {sides}")
    for pair in encoders:
        both = see(context, source, pairing, pair)
        if both is None:
            continue
        if context.wants("retrieval"):
            yield from _retrieved(both)
        if context.wants("alignment") and "text" not in (pairing.left_modality, pairing.right_modality):
            yield _aligned(context, both)


def label_of(one: Encoder, other: Encoder) -> str:
    """One model that has both, or the sensors' encoders by the names of the sensors; words go without saying."""
    sensors = sorted((encoder for encoder in (one, other) if encoder.modality != "text"), key=lambda one: one.modality)
    return " + ".join(dict.fromkeys(encoder.name for encoder in sensors))


def share_a_space(one: Encoder, other: Encoder) -> bool:
    return (one.space, one.dim) == (other.space, other.dim)


def _fewer(pairing: Pairing, limit: int | None) -> Pairing:
    """At most `limit` clips of the side that is not words, and what belongs to them."""
    side = 0 if pairing.right_modality == "text" else 1
    clips = (pairing.left, pairing.right)[side]
    chosen = set(some([clip.name for clip in clips], limit))
    kept = [pair for pair in pairing.pairs if pair[side] in chosen]
    return pairing.only(*(sorted({pair[at] for pair in kept}) for at in (0, 1)))


def _retrieved(both: Both) -> Iterator[Result]:
    pairing = both.pairing
    ways = retrieval.both_ways(both.left, both.right, pairing.pairs)
    sides = (pairing.left_modality, pairing.right_modality)
    for way, (asking, asked), published in zip(ways, (sides, sides[::-1]), (pairing.published, ()), strict=True):
        yield Result(
            task="retrieval",
            subject=f"{pairing.name}: {asking} to {asked}",
            encoder=both.label,
            items=way.queries,
            metrics=way.metrics,
            headline="recall@1",
            chance=way.chance,
            published=tuple(one for one in published if one.metric in way.metrics),
        )


# --- alignment --------------------------------------------------------------------------------------------------------


def _aligned(context: Context, both: Both) -> Result:
    pairing = both.pairing
    found = alignment.of_pairs(both.left, both.right, pairing.pairs, seed=context.options.seed)
    return Result(
        task="alignment",
        subject=f"{pairing.name}: {pairing.left_modality} and {pairing.right_modality}",
        encoder=both.label,
        items=len(pairing.pairs),
        metrics={"nearer": found.nearer, "cosine": found.cosine, "p": found.p},
        headline="nearer",
        chance={"nearer": 0.5, "cosine": found.shuffled},
        details={"spread of a shuffle": found.spread},
    )


def shared_classes(everything: Sequence[Seen]) -> Iterator[Result]:
    """Classes of one name in two modalities, whatever data sets they come from."""
    for one, other in itertools.combinations(everything, 2):
        if one.task.modality == other.task.modality or not share_a_space(one.encoder, other.encoder):
            continue
        left, right = _labelled(one), _labelled(other)
        if len(alignment.shared(left, right)) < 2:
            continue
        found = alignment.of_classes(left, right)
        sides = dict(zip((one.task.modality, other.task.modality), found.balanced, strict=True))
        metrics = {"classes found": found.found, **sides}
        yield Result(
            task="alignment",
            subject=f"{one.task.name} and {other.task.name}, by class",
            encoder=label_of(one.encoder, other.encoder),
            items=len(left.labels) + len(right.labels),
            metrics=metrics,
            headline="classes found",
            chance=dict.fromkeys(metrics, found.chance),
            details={"classes": list(found.classes)},
        )


def _labelled(seen: Seen) -> alignment.Labelled:
    """Items of a single class."""
    rows = [row for row, mine in enumerate(seen.task.targets) if len(mine) == 1]
    return alignment.Labelled(seen.vectors[rows], [seen.task.classes[seen.task.targets[row][0]] for row in rows])


# --- sums -------------------------------------------------------------------------------------------------------------


def sums_of_classes(context: Context, seen: Sequence[Seen]) -> Iterator[Result]:
    """Clips of a data set that two sensors have seen, named by the sum of what both say."""
    for one, other in itertools.combinations(seen, 2):
        is_one_question = one.task.classes == other.task.classes and one.task.modality != other.task.modality
        if is_one_question and share_a_space(one.encoder, other.encoder):
            yield from _sum_of_classes(context, one, other)


def _sum_of_classes(context: Context, one: Seen, other: Seen) -> Iterator[Result]:
    rows, others = fusion.common(*([clip.name for clip in seen.task.clips] for seen in (one, other)))
    if not rows:
        return
    task, metric = one.task.only(rows), headline_of(one.task)
    sides = _sides((one.encoder, one.vectors[rows]), (other.encoder, other.vectors[others]), context.options.share)
    found = {side: answer(context, task, one.encoder, vectors).metrics[metric] for side, vectors in sides.items()}
    yield Result(
        task="fusion",
        subject=f"{task.name}: {_sum_name(one.encoder, other.encoder)}",
        encoder=label_of(one.encoder, other.encoder),
        items=len(rows),
        metrics={f"{metric}{side}": value for side, value in found.items()},
        headline=metric,
        chance={f"{metric}{side}": chance(task)[metric] for side in sides},
        published=_of_sum((*one.task.published, *other.task.published), one.encoder, other.encoder),
        details={"share": context.options.share},
    )


def sums_of_pairs(context: Context, source: Source) -> Iterator[Result]:
    """Words that ask for what two sensors have seen."""
    asking = [pairing for pairing in source.dataset.pairings if pairing.left_modality == "text"]
    for pairings in itertools.combinations(asking, 2):
        firsts, seconds = (context.panel.together("text", pairing.right_modality) for pairing in pairings)
        for (words, first), (others_words, second) in itertools.product(firsts, seconds):
            differ = first.modality != second.modality
            if words is others_words and differ and share_a_space(first, second):
                yield from _sum_of_pairs(context, source, pairings, (words, first, second))


def _sum_of_pairs(
    context: Context, source: Source, pairings: tuple[Pairing, Pairing], encoders: tuple[Encoder, Encoder, Encoder]
) -> Iterator[Result]:
    words, first, second = encoders
    one, other = see(context, source, pairings[0], (words, first)), see(context, source, pairings[1], (words, second))
    if one is None or other is None:
        return
    rows, others = fusion.common(*([clip.name for clip in both.pairing.right] for both in (one, other)))
    pairs = one.pairing.only(range(len(one.pairing.left)), rows).pairs
    if not pairs:
        return
    sides = _sides((first, one.right[rows]), (second, other.right[others]), context.options.share)
    found = {side: retrieval.retrieve(one.left, vectors, pairs) for side, vectors in sides.items()}
    metrics = [f"recall@{depth}" for depth in retrieval.DEPTHS]
    yield Result(
        task="fusion",
        subject=f"{source.dataset.name}: text to {_sum_name(first, second)}",
        encoder=label_of(first, second),
        items=found[""].queries,
        metrics={f"{metric}{side}": found[side].metrics[metric] for metric in metrics for side in sides},
        headline=metrics[0],
        chance={f"{metric}{side}": found[side].chance[metric] for metric in metrics for side in sides},
        published=_of_sum((*pairings[0].published, *pairings[1].published), first, second),
        details={"share": context.options.share},
    )


def _sides(first: tuple[Encoder, Floats], second: tuple[Encoder, Floats], share: float) -> dict[str, Floats]:
    """What is added to a metric's name -> the vectors it is of: nothing for the sum, ` vision alone` for one of its parts."""
    parts = {f" {encoder.modality} alone": vectors for encoder, vectors in (first, second)}
    return {"": fusion.fuse(first[1], second[1], share), **parts}


def _sum_name(one: Encoder, other: Encoder) -> str:
    return "+".join(sorted((one.modality, other.modality)))


def _of_sum(published: Sequence[Published], one: Encoder, other: Encoder) -> tuple[Published, ...]:
    """Numbers of the sum, which are called `recall@1 audio+vision`."""
    return tuple(found for found in published if found.metric.partition(" ")[2] == _sum_name(one, other))
