"""What a student keeps of its teacher: both asked the same about items that neither has seen, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from edgebind.calibration import gate
from edgebind.signals import Floats
from edgebind.train import measure
from edgebind.train.cost import cost_of
from edgebind.train.measure import Measured
from edgebind.train.quantisation import Drift
from edgebind.train.recipe import Edge
from edgebind.train.run import circumstances
from edgebind.train.stage import Stage
from edgebind.train.teacher import is_run

LIKENESS = Edge(("student", "teacher"), (), temperature=1.0)
"""How held-out items without classes are judged: does the student's vector find its teacher's?"""
MOST = 2000
"""Items among which it is looked for."""


Drifts = tuple[Drift, ...]
"""What INT8 makes of a student before and after it learned to bear 8 bits; empty if it did not."""


@dataclass(frozen=True)
class Judged:
    """One fold's results."""

    student: Measured
    teacher: Measured
    items: int
    cosines: float
    """Of all items' two vectors, added up."""
    drifts: Drifts = ()

    def to_dict(self) -> dict[str, Any]:
        own = {"items": self.items, "cosines": self.cosines, "drifts": [drift.to_dict() for drift in self.drifts]}
        return {**own, "student": self.student.to_dict(), "teacher": self.teacher.to_dict()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Judged:
        student, teacher = (Measured.from_dict(table[side]) for side in ("student", "teacher"))
        drifts = tuple(Drift.from_dict(drift) for drift in table["drifts"])
        return cls(student, teacher, table["items"], table["cosines"], drifts)


def judge(stage: Stage, student: nn.Module) -> Judged:
    """Ask a student and its teacher about everything that the stage has held out."""
    held_out = stage.held_out()
    mine = [(held, stage.student_rows(student, held.items)) for held in held_out]
    theirs = [(held, stage.teacher_rows(held.items)) for held in held_out]
    both = [(rows, wanted) for (_, rows), (_, wanted) in zip(mine, theirs, strict=True)]
    found = {}
    if stage.words is None and both:  # items without classes are held out in one way only
        found = {LIKENESS.name: measure.retrieve(*_spread(*both[0]))}
    return Judged(
        Measured(stage.measured(mine).answers, found),
        stage.measured(theirs),
        sum(len(held.items) for held in held_out),
        sum(float(np.einsum("ij,ij->", *pair)) for pair in both),
    )


def _spread(student: Floats, teacher: Floats) -> tuple[Floats, Floats]:
    """At most `MOST` of the rows, evenly spread."""
    step = -(-len(student) // MOST)
    return student[::step], teacher[::step]


def make(stage: Stage, student: nn.Module, folds: Sequence[Judged]) -> dict[str, Any]:
    """All that `run.json` says.

    Parameters
    ----------
    stage, student: of everything; they say what each side costs.
    folds: what was measured.
    """
    edges = (stage.recipe.edge, LIKENESS)
    student_found, teacher_found = (
        measure.pool([getattr(fold, side) for fold in folds], edges) for side in ("student", "teacher")
    )
    return {
        "held_out": student_found,
        "teacher": {"checkpoint": stage.recipe.teacher.checkpoint, "of": _taught(stage), "held_out": teacher_found},
        "kept": _kept(student_found, teacher_found),
        "likeness": _likeness(folds),
        "int8": _int8(folds, edges),
        "cost": _costs(stage, student),
        "recipe": stage.recipe.to_dict(),
        **circumstances(stage.recipe.seed, stage.device),
    }


def _taught(stage: Stage) -> str:
    if not stage.recipe.folds:
        return "nothing was held out"
    if is_run(stage.recipe.teacher):
        return "each fold was taught by a tower that never saw it"
    return "one teacher for all folds: it may have learned from what they hold out"


def _kept(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Edge, variant and question -> the student's balanced accuracy as a share of its teacher's."""
    return {
        edge: {
            variant: {
                question: round(row["balanced_accuracy"] / teacher[edge][variant][question]["balanced_accuracy"], 4)
                for question, row in questions.items()
                if teacher[edge][variant][question]["balanced_accuracy"] > 0
            }
            for variant, questions in variants.items()
        }
        for edge, variants in student.items()
        if edge in teacher
    }


def _likeness(folds: Sequence[Judged]) -> dict[str, Any]:
    items = sum(fold.items for fold in folds)
    return {"items": items, "cosine": round(sum(fold.cosines for fold in folds) / items, 4)} if items else {}


def _int8(folds: Sequence[Judged], edges: Sequence[Edge]) -> dict[str, Any]:
    """The worst fold's drift, and what INT8 answers, before and after the student learned to bear 8 bits."""
    both = [fold.drifts for fold in folds if fold.drifts]
    sides = dict(zip(("before", "after"), zip(*both, strict=True), strict=True)) if both else {}
    return {
        name: {
            **gate.worst({str(fold): drift.comparison for fold, drift in enumerate(drifts)}).to_dict(),
            "held_out": measure.pool([drift.measured for drift in drifts], edges),
        }
        for name, drifts in sides.items()
    }


def _costs(stage: Stage, student: nn.Module) -> dict[str, Any]:
    items = stage.draw(1, np.random.default_rng(stage.recipe.seed)).items
    small = cost_of(student, stage.student_inputs(items).to(stage.device))
    large = cost_of(stage.teacher.module, stage.teacher_inputs(items).to(stage.device))
    ratios = {"parameters": large.parameters / small.parameters, "macs": large.macs / small.macs}
    fewer = {name: round(value, 2) for name, value in ratios.items()}
    return {"student": asdict(small), "teacher": asdict(large), "fewer": fewer}


def headline(report: Mapping[str, Any]) -> dict[str, float]:
    """Edge, variant and question -> the student's balanced accuracy; of items without classes, the recall at 1."""
    from edgebind.train.bind import headline as of_bind

    return of_bind(dict(report))


def table(report: Mapping[str, Any]) -> list[str]:
    """Lines that set student and teacher side by side."""
    rows = [("", "student", "teacher", "")]
    name = next(iter(report["kept"]), "")
    for variant, questions in report["kept"].get(name, {}).items():
        for question, kept in questions.items():
            mine, theirs = (
                side[name][variant][question]["balanced_accuracy"]
                for side in (report["held_out"], report["teacher"]["held_out"])
            )
            title = ", ".join(part for part in (question, variant) if part)
            rows.append((title, f"{mine:.3f}", f"{theirs:.3f}", f"keeps {kept:.1%}"))
    cost = report["cost"]
    for what, title in (("parameters", "parameters"), ("macs", "MACs of one input")):
        small, large = cost["student"][what], cost["teacher"][what]
        rows.append((title, f"{small:,}", f"{large:,}", f"{cost['fewer'][what]:.1f}x fewer"))
    return [*_aligned(rows), *_remarks(report)]


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    return [
        f"{title:{widths[0]}}  {mine:>{widths[1]}}  {theirs:>{widths[2]}}  {remark}".rstrip()
        for title, mine, theirs, remark in rows
    ]


def _remarks(report: Mapping[str, Any]) -> list[str]:
    found = []
    if report["likeness"]:
        of = report["likeness"]
        found.append(f"mean cosine to the teacher {of['cosine']:.3f}, on {of['items']} held-out items")
    if LIKENESS.name in report["held_out"]:
        row = report["held_out"][LIKENESS.name]
        recall = row["student to teacher"]["recall@1"]
        found.append(f"the student's vector finds its teacher's: recall@1 {recall:.3f}, chance {row['chance']:.4f}")
    found += [_int8_line(when, drift) for when, drift in report["int8"].items()]
    if report["teacher"]["of"].startswith("one teacher"):
        found.append(report["teacher"]["of"])
    return found


def _int8_line(when: str, drift: Mapping[str, Any]) -> str:
    agreement = "" if drift["agreement"] is None else f", same label {drift['agreement']:.1%}"
    answered: Mapping[str, Any] = next(iter(drift["held_out"].values()), {})
    asked: Mapping[str, Any] = next(iter(answered.values()), {})  # the first way of cutting them out
    accuracy = "".join(f", {question} {row['balanced_accuracy']:.3f}" for question, row in asked.items())
    return f"INT8 {when} fine-tuning, worst fold: cosine to FP32 {drift['cosine_mean']:.5f}{agreement}{accuracy and '; all folds' + accuracy}"
