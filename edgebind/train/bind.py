"""Binding: towers learn to say what their anchors say of the same thing.

The run folder:

    recipe.toml, run.json        what was asked for; held-out numbers, seed, versions, the command
    measured.json                likewise, of single folds
    tower.safetensors            for `edgebind export --checkpoint`; `tower-NODE.safetensors` where several nodes learn
    folds/                       towers that never saw what their fold holds out, for `edgebind distil` and for judging
    losses.jsonl, events/        every step's loss; `tensorboard --logdir RUN`
    state.pt                     while it runs: from here the same command goes on after Ctrl-C or a crash
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.models import tower_file
from edgebind.train import identity, measure, processes
from edgebind.train.data.pairs import PairSource
from edgebind.train.data.sources import LabelledSource, open_source
from edgebind.train.data.task import Drawn
from edgebind.train.engine import Engine
from edgebind.train.graph import GraphObjective
from edgebind.train.measure import Measured
from edgebind.train.nodes import Encode, NodeTower, open_nodes
from edgebind.train.recipe import MEASURED, REPORT, Edge, Recipe, from_table
from edgebind.train.run import (
    CPU,
    Progress,
    Run,
    circumstances,
    name_of,
    require_folds,
)

Trained = Engine[list[Drawn]]


def bind(
    recipe: Recipe,
    encode: Encode | None = None,
    *,
    device: torch.device = CPU,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the recipe fold by fold, then train its towers on everything, and write the run folder.

    The numbers come from towers that never saw the people, runs or dates they are judged on; the towers that are kept have
    learned from all of them, by the same recipe.

    Parameters
    ----------
    encode: stands in for the sentence encoder, texts -> (texts, dim) unit rows.

    Returns
    -------
    What `run.json` holds.

    Raises
    ------
    OptionError, RecordingError: a recipe or data that cannot be used.
    CheckpointError, BundleError: an anchor that cannot be loaded.
    EdgebindError: the loss is no number.
    StorageError: the run folder cannot be written.
    """
    with _Binding.begun(recipe, encode, device, progress) as run:
        folds = [run.fold(number) for number in range(recipe.folds)]
        engine, objective = run.bound(None)
    report = _report(recipe, folds, objective, engine.average)
    processes.wait()
    if processes.rank() == 0:
        _write_towers(run.out, objective, engine.average, "tower", {"held_out": headline(report)})
        run.report(REPORT, report)
        run.clean()
    return report


def measure_folds(
    recipe: Recipe,
    numbers: Sequence[int],
    encode: Encode | None = None,
    *,
    device: torch.device = CPU,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a recipe on some of its folds, and bind no towers to everything; see `edgebind.train.distil.measure_folds`.

    The towers of these folds stay in `folds/`, and may teach the same folds of a student.
    """
    require_folds(numbers, recipe.folds)
    with _Binding.begun(recipe, encode, device, progress) as run:
        folds = [run.fold(number) for number in numbers]
    report = {
        "held_out": measure.pool(folds, recipe.edges),
        "emergent": {},
        "folds": [number + 1 for number in numbers],
        "recipe": asdict(recipe),
        **circumstances(recipe.seed, device),
    }
    if processes.rank() == 0:
        run.report(MEASURED, report)
    return report


class _Binding(Run[Recipe]):
    """One call of `bind`."""

    def bound(self, fold: int | None) -> tuple[Trained, GraphObjective]:
        """Towers bound without fold `fold`, or to everything."""
        recipe = self.recipe
        nodes = open_nodes(recipe, self.encode)
        sources = [open_source(edge, nodes, fold, recipe.seed) for edge in recipe.edges]
        objective = GraphObjective(recipe, nodes, sources).to(self.device)
        return self.train(name_of(fold, recipe.folds), objective, recipe.training, self.state(fold)), objective

    def fold(self, number: int) -> Measured:
        """What towers that never saw fold `number` make of it; kept on disk, so that a stopped run does not repeat it."""
        stamp = self._stamp()
        kept = self.kept(self.results(number), stamp)
        if kept is not None:
            return Measured.from_dict(kept)
        engine, objective = self.bound(number)
        results = measure.measure(objective, engine.average)
        if processes.rank() == 0:
            _write_towers(self.out / "folds", objective, engine.average, f"fold-{number}", {"held_out_fold": number})
            self.keep(self.results(number), results.to_dict(), stamp)
            self.forget(number)
        return results

    def _stamp(self) -> str:
        """Of all files that a fold is made of; process 0's, since other machines may have copied theirs at another time."""
        edges, nodes = self.recipe.edges, self.recipe.nodes.values()
        data = [one for edge in edges for one in edge.data]
        others = [*(edge.unseen for edge in edges), *(node.checkpoint for node in nodes)]
        return processes.of_first(identity.stamp(data, others), self.device)


def _report(recipe: Recipe, folds: list[Measured], objective: GraphObjective, towers: nn.ModuleDict) -> dict[str, Any]:
    return {
        "held_out": measure.pool(folds, recipe.edges),
        "emergent": _emergent(recipe, objective, towers),
        "recipe": asdict(recipe),
        "temperatures": {edge.name: round(objective.temperature_now(edge), 5) for edge in recipe.edges},
        **circumstances(recipe.seed, objective.device),
    }


def _emergent(recipe: Recipe, objective: GraphObjective, towers: nn.ModuleDict) -> dict[str, Any]:
    """Pairs of the recipe's `alignments`, with a word on whether their ends share an edge."""
    bound = {frozenset(edge.ends) for edge in recipe.edges}
    found = {}
    for alignment in recipe.alignments:
        source = open_source(alignment, dict(objective.nodes), None, recipe.seed)
        drawn = source.everything() if isinstance(source, PairSource) else None
        if drawn is not None:
            figures = measure.retrieve(*measure.both(objective, towers, alignment.ends, drawn)).to_dict(alignment.ends)
            found["-".join(alignment.ends)] = {"share_an_edge": frozenset(alignment.ends) in bound, **figures}
    return found


def _write_towers(
    out: Path, objective: GraphObjective, towers: nn.ModuleDict, stem: str, provenance: dict[str, Any]
) -> None:
    """Each tower that has learned, in the file its kind has."""
    for name in towers:
        path = out / (f"{stem}.safetensors" if len(towers) == 1 else f"{stem}-{name}.safetensors")
        tower = objective.nodes[name]
        if tower.node.tower == "imagebind":
            _write_imagebind(path, tower, towers[name])
        else:
            _write_student(path, objective, tower, towers[name], provenance)


def _write_imagebind(path: Path, tower: NodeTower, module: nn.Module) -> None:
    from edgebind.models import checkpoint
    from edgebind.models.imagebind import Tower

    assert isinstance(module, Tower)
    checkpoint.save_towers(path, {tower.node.modality: module})


def _write_student(
    path: Path, objective: GraphObjective, tower: NodeTower, module: nn.Module, provenance: dict[str, Any]
) -> None:
    recipe, node = objective.recipe, tower.node
    edges = [(at, edge) for at, edge in enumerate(recipe.edges) if tower.name in edge.ends]
    info = tower_file.TowerInfo(
        space=recipe.space,
        modality=node.modality,
        student=node.tower,
        dim=tower.dim,
        logit_scale=1 / objective.temperature_now(edges[0][1]),
        window=from_table(WindowSpec, node.window, where=recipe.out, prefix=f"nodes.{tower.name}.window."),
        preprocess=node.preprocess,
        provenance={"licence": recipe.licence, "seed": recipe.seed, **provenance},
    )
    tower_file.write(path, module, info, _bank(objective, edges, tower.dim))


def _bank(objective: GraphObjective, edges: list[tuple[int, Edge]], dim: int) -> LabelBank:
    """Canonical prompts of the node's labelled edges."""
    prompts: list[str] = []
    rows = [np.zeros((0, dim), np.float32)]
    for at, edge in edges:
        source = objective.sources[at]
        if isinstance(source, LabelledSource):
            prompts += [one.texts[0] for one in edge.prompts]
            rows.append(measure.vectors_of(objective, objective.towers, edge.ends[1], source.canonical))
    return LabelBank(tuple(prompts), np.concatenate(rows))


def headline(report: dict[str, Any]) -> dict[str, float]:
    """Edge, variant and question -> balanced accuracy; or, of pairs, the recall at 1 each way."""
    found: dict[str, float] = {}
    for edge, figures in report["held_out"].items():
        if "pairs" in figures:
            found |= {f"{edge} {way}": row["recall@1"] for way, row in figures.items() if isinstance(row, dict)}
            continue
        for variant, questions in figures.items():
            for question, row in questions.items():
                found[" ".join(part for part in (edge, variant, question) if part)] = row["balanced_accuracy"]
    return found
