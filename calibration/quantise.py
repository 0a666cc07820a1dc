"""One call: an FP32 encoder and real recordings -> gated INT8 graphs with their report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgebind import cpu
from edgebind.calibration import gate, ladder, nearness, qdq, speed
from edgebind.calibration import journal as journal_
from edgebind.calibration import ranges as ranges_
from edgebind.calibration.batches import Batch, Material, count
from edgebind.calibration.gate import Bars, Comparison
from edgebind.calibration.graph import Product
from edgebind.calibration.journal import Journal
from edgebind.calibration.ladder import Outcome, ToHalf
from edgebind.calibration.nearness import Nearness
from edgebind.calibration.observers import METHODS
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.speed import Speed
from edgebind.calibration.subject import Progress, Steps, Subject
from edgebind.calibration.transforms import trial
from edgebind.calibration.transforms.trial import Trial
from edgebind.errors import CalibrationError
from edgebind.labels import LabelBank

LEAST_CALIBRATION = 16
LEAST_GATE = 8
"""Windows. With fewer, ranges and percentiles would be an accident of what was recorded."""
SLOW, SLOW_ROUNDS = 20_000_000_000, 5
"""Multiply-accumulates of a window that takes about a second, and rounds of a race between two such graphs."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """INT8 graphs, the ranges they were made from, and all that was measured."""

    files: dict[str, Path]
    """Name in the bundle -> file."""
    ranges: Ranges
    least: Comparison
    """The worst of the graphs."""
    kept: tuple[str, ...]
    mac_share: float
    remainder: str
    """Precision of what is not INT8 in the TensorRT graph."""
    speed: Speed
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of an INT8 encoder, and how it is made."""

    bars: Bars = gate.INT8
    """What must be reached."""
    aim: Bars = gate.INT8_AIM
    """What is reached for while most of the work stays in INT8."""
    attention: bool = False
    """Whether attention's own two products are INT8 as well, in the TensorRT graph; `ranges` must know of them."""
    observer: str | None = None
    """Whose ranges are taken, with no other and no transform tried; None lets measurement choose."""
    ranges: Ranges | None = None
    """Those of an earlier calibration of this graph, instead of new ones."""
    to_half: ToHalf | None = None
    """Makes FP16 of what is not INT8 in the TensorRT graph; None leaves it in float32."""


def quantise(
    graph: Path,
    windows: Material,
    options: Options | None = None,
    *,
    bank: LabelBank,
    scratch: Path,
    state: Path | None = None,
    progress: Progress = lambda _: None,
    steps: Steps = lambda stage, step, steps: None,
) -> Quantised:
    """Calibrate `graph` on some recordings and gate it on others.

    Parameters
    ----------
    bank: labels that an INT8 vector must be as near to as FP32's.
    scratch: folder for the graphs; they are the caller's to move.
    state: file in which a calibration and a search that are interrupted find what they had; gone at the end.
    progress, steps: called as the work moves on.

    Raises
    ------
    CalibrationError: too few windows, a bad one, named by its recording, or ranges of another graph.
    GateError: INT8 misses the bars whatever stays in float.
    StorageError: the disk is full or cannot be written.
    """
    require_enough(windows.calibration, windows.held_out)
    wanted = options or Options()
    subject = Subject.of(graph, windows.calibration[0], bank, scratch, progress, steps, attention=wanted.attention)
    _require_layers(subject)
    wanted = replace(wanted, ranges=_fitting(wanted.ranges, subject))
    calibration = subject.affordable(windows.calibration, 1000, 512, least=2 * LEAST_CALIBRATION)
    held_out = subject.affordable(windows.held_out, 600, 1024, least=2 * LEAST_GATE)
    windows = replace(windows, calibration=calibration, held_out=held_out)
    journal = _journal(state, subject, windows, wanted)
    with journal.kept_if_interrupted():
        found = _calibration_of(journal, subject, windows, wanted)
        outcome = ladder.climb(subject, found.ranges, windows, wanted.bars, wanted.aim, journal, wanted.to_half)
        race = _race(subject, outcome, held_out)
    report = {**_report(subject, outcome, found, windows, wanted.bars, race), **windows.facts}
    least, share = gate.worst(outcome.comparisons), subject.share(outcome.kept)
    precision = outcome.remainder.precision
    return Quantised(outcome.files, found.ranges, least, outcome.kept, share, precision, race, report)


def _require_layers(subject: Subject) -> None:
    if not subject.layers:
        raise CalibrationError("no layer that could be quantised", where=subject.graph, remedy="use --precision fp16")


def _fitting(ranges: Ranges | None, subject: Subject) -> Ranges | None:
    """Known ranges, for attention in INT8 or in float as it is asked for now."""
    if ranges is None:
        return None
    wanted = [name for layer in subject.layers for name in layer.reads if isinstance(layer, Product)]
    if not all(name in ranges.tensors for name in wanted):
        raise CalibrationError(
            "these ranges know nothing of attention's products",
            where=ranges_.FILE,
            wanted="ranges of an export with --attention int8",
            remedy="calibrate again",
        )
    return replace(ranges, attention=subject.attention)


def _race(subject: Subject, outcome: Outcome, held_out: Sequence[Batch]) -> Speed:
    """How long the graph that this CPU would run takes beside FP32."""
    subject.progress("speed of INT8 against FP32")
    fast = qdq.U8S8 if cpu.sums_in_32_bits() else qdq.U8U8
    least = SLOW_ROUNDS if subject.total > SLOW else speed.ROUNDS
    return speed.measure(subject.graph, outcome.files[fast.file], held_out[0].inputs[:1], least=least)


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a calibration."""

    ranges: Ranges
    scores: dict[str, float] = field(default_factory=dict)
    """Mean cosine of every observer and scaling of weights that was tried; none where ranges were known before."""
    trials: Sequence[Trial] = ()
    """Transforms that were tried."""

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `from_dict` reads it."""
        return {"ranges": self.ranges.to_json(), "scores": self.scores, "trials": [asdict(of) for of in self.trials]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Found:
        trials = tuple(Trial(**of) for of in data["trials"])
        return cls(ranges_.from_json(data["ranges"]), dict(data["scores"]), trials)


def _journal(state: Path | None, subject: Subject, windows: Material, options: Options) -> Journal:
    """Where the search is noted; one of other windows, however they were drawn, or of other ranges begins anew."""
    drawn = f"{windows.observed is not None} {dict(windows.facts)}"
    given = "" if options.ranges is None else options.ranges.to_json()
    what = f"{drawn}{' attention' * subject.attention} {options.observer or ''} {given}"
    key = journal_.key(ranges_.fingerprint(subject.graph), windows.calibration, subject.bank.embeddings, what)
    return Journal(state, key, [layer.name for layer in subject.layers])


def _calibration_of(journal: Journal, subject: Subject, windows: Material, options: Options) -> Found:
    """That of known ranges, of the search which goes on, or a new one."""
    if options.ranges is not None:
        return Found(options.ranges)
    if journal.found is not None:
        return Found.from_dict(journal.found)
    found = _calibrated(subject, windows, options.observer)
    journal.carry(found.to_dict())
    return found


def _calibrated(subject: Subject, windows: Material, observer: str | None) -> Found:
    """The ranges, scales of weights and transforms that measure best, or what the observer says that a user named."""
    streamed, calibration = windows.observed is not None, windows.calibration
    many = "windows that are read one by one" if streamed else f"{count(calibration)} windows"
    subject.progress(f"ranges of {len(subject.layers)} layers from {many}")
    observed = calibration if windows.observed is None else windows.observed
    by_method = ranges_.collect(
        subject.graph,
        observed,
        METHODS if observer is None else {observer: METHODS[observer]},
        seen=_counted(subject, None if streamed else count(calibration)),
        attention=subject.attention,
    )
    if observer is not None:
        return Found(by_method[observer])
    near = Nearness(subject, subject.affordable(calibration, 100, 96))
    method, scores = nearness.choose(near, by_method)
    chosen, of_weights = nearness.choose_weights(near, by_method[method])
    improved, trials = trial.improve(near, chosen, observed)
    return Found(improved, scores | of_weights, trials)


def _counted(subject: Subject, windows: int | None) -> Callable[[int], None]:
    """Tells how far ranges are; of windows that are read one by one nobody knows how many there will be (None)."""
    if windows is None:
        return lambda seen: None
    return lambda seen: subject.steps("ranges", seen - 1, windows)


def require_enough(calibration: Sequence[Batch], held_out: Sequence[Batch]) -> None:
    """Refuse recordings that are too short to say anything."""
    for what, batches, least in (("calibrate", calibration, LEAST_CALIBRATION), ("gate", held_out, LEAST_GATE)):
        require_windows(what, count(batches), least, batches[0].recording if batches else None)


def require_windows(what: str, windows: int, least: int, where: Path | str | None) -> None:
    """Refuse fewer than `least` windows; `what` INT8 does on them.

    Raises
    ------
    CalibrationError: too few.
    """
    if windows < least:
        raise CalibrationError(
            f"too few windows to {what} INT8 on",
            where=where,
            wanted=f"at least {least}",
            got=windows,
            remedy="give more or longer recordings with --calibration PATH",
        )


def _report(
    subject: Subject,
    outcome: Outcome,
    found: Found,
    windows: Material,
    bars: Bars,
    race: Speed,
) -> dict[str, Any]:
    titles = {layer.name: layer.title for layer in subject.layers}
    return {
        "observer": {
            "chosen": found.ranges.method,
            "weights": found.ranges.weights,
            "cosine_on_calibration": {k: round(v, 6) for k, v in found.scores.items()},
        },
        "transforms": [of.to_dict() for of in found.trials],
        "graphs": {
            scheme.file: {**outcome.comparisons[scheme.file].to_dict(), "as_written": not ladder.runs_here(scheme)}
            for scheme in qdq.SCHEMES
        },
        "remainder": outcome.remainder.to_dict(),
        "bars": {name: getattr(bars, name) for name in Bars.__slots__},
        "layers": {
            "quantised": len(subject.layers) - len(outcome.kept),
            "float": [
                {"layer": titles[name], "tensor": name, "damage": round(outcome.damages.get(name, 0.0), 7)}
                for name in outcome.kept
            ],
            "damage": {titles[name]: round(value, 7) for name, value in outcome.damages.items()},
            "sensitivity": [item.to_dict(titles[item.layer]) for item in outcome.sensitivities],
        },
        "attention": "int8" if subject.attention else "float",
        "macs": {"window": sum(subject.macs.values()), "int8_share": round(subject.share(outcome.kept), 4)},
        "speed": race.to_dict(),
        "recordings": {"calibration": _recordings(windows.calibration), "gate": _recordings(windows.held_out)},
        "observers_tried": [name for name in METHODS if name in found.scores],
    }


def _recordings(batches: Sequence[Batch]) -> dict[str, int]:
    windows: dict[str, int] = {}
    for batch in batches:
        windows[batch.recording] = windows.get(batch.recording, 0) + len(batch)
    return windows
