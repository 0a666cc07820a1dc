"""A teacher: whatever turns samples into vectors of the space, and knows what it wants to see.

checkpoint                     teacher
a run folder of edgebind bind  its tower; for each fold the tower that never saw what the fold holds out
a tower.safetensors            that tower, for all folds
a bundle's folder              its encoder, through its backend
anything else                  the ImageBind tower of the student's modality
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgebind import bundle, preprocess
from edgebind.errors import OptionError
from edgebind.labels import LabelBank
from edgebind.manifest import FILE as MANIFEST
from edgebind.manifest import WindowSpec
from edgebind.models import tower_file
from edgebind.train.distil_recipe import DistilRecipe, Teacher
from edgebind.train.nodes import Backed, stacked
from edgebind.train.recipe import from_table, report_of


@dataclass(frozen=True)
class OpenTeacher:
    """A teacher that can be asked."""

    file: Path
    """What it was read from."""
    modality: str
    space: str
    module: nn.Module
    """(batch, ...) inputs -> (batch, dim) unit rows, in eval mode."""
    prepare: Callable[[Sequence[Any]], Tensor]
    """Samples in physical units -> inputs."""
    dim: int
    window: WindowSpec
    preprocess: dict[str, Any]
    logit_scale: float
    bank: LabelBank

    @property
    def identity(self) -> dict[str, Any]:
        """What decides its vectors."""
        digest = bundle.sha256(self.file / MANIFEST if self.file.is_dir() else self.file)
        return {"sha256": digest, "window": [self.window.rate_hz, self.window.seconds], "preprocess": self.preprocess}


def open_teacher(how: Teacher, modality: str, fold: int | None) -> OpenTeacher:
    """The teacher of fold `fold`, or of everything when it is None, on the CPU.

    Raises
    ------
    OptionError: it speaks for another modality, or none of its towers has never seen the fold.
    CheckpointError, BundleError: it cannot be loaded.
    """
    file = file_for(how, fold)
    if (file / MANIFEST).is_file():
        found = _bundle(file)
    elif file.suffix == ".safetensors" and tower_file.is_tower_file(file):
        found = _tower(file)
    else:
        found = _imagebind(file, how, modality)
    if found.modality != modality:
        raise OptionError("the teacher speaks for another modality", where=file, wanted=modality, got=found.modality)
    found.module.eval().requires_grad_(False)
    return found


def is_run(how: Teacher) -> bool:
    """Whether the checkpoint is a run folder, which has a tower for each fold."""
    return report_of(how.checkpoint) is not None


def file_for(how: Teacher, fold: int | None) -> Path:
    """The file or bundle that teaches a fold.

    Raises
    ------
    OptionError: nothing is there, or a folder that has no such tower.
    """
    path = Path(how.checkpoint)
    if not path.exists():
        raise OptionError("there is no such teacher", where=path, wanted="a run, a tower, a bundle or a checkpoint")
    if not is_run(how):
        if path.is_dir() and not (path / MANIFEST).is_file():
            wanted, remedy = f"run.json or {MANIFEST} in it", "edgebind bind writes run.json when it has finished"
            raise OptionError("this folder is no teacher", where=path, wanted=wanted, remedy=remedy)
        return path
    stem = "tower" if fold is None else f"folds/fold-{fold}"
    file = path / f"{stem}{f'-{how.node}' if how.node else ''}.safetensors"
    if not file.is_file():
        raise OptionError(
            "the teacher's run has no such tower",
            where=path,
            wanted=str(file.relative_to(path)),
            remedy="bind the teacher with the same folds, and to its end; or name its node, where several learned",
        )
    return file


def require_strangers(recipe: DistilRecipe) -> None:
    """Refuse folds whose teacher has learned from what they hold out: their numbers would be the teacher's memory.

    Raises
    ------
    OptionError: names the first such group.
    """
    run = report_of(recipe.teacher.checkpoint)
    if run is None or not recipe.folds:
        return
    edges = json.loads(run.read_text(encoding="utf-8"))["recipe"]["edges"]
    theirs = {str(Path(data["path"]).resolve()): data for edge in edges for data in edge["data"]}
    for data in recipe.data:
        known = theirs.get(str(Path(data.path).resolve()))
        if known is None:
            continue  # it never saw any of it
        if data.parts and (known["parts"], known["folds"]) != (data.parts, []):
            raise _remembers(run, data.path, f"parts = {known['parts']}", f"parts = {data.parts}")
        for number, groups in enumerate(data.folds):
            held = known["folds"][number] if number < len(known["folds"]) else []
            seen = sorted(set(groups) - set(held))
            if seen:
                raise _remembers(run, data.path, f"{seen[0]} held out in fold {number + 1}", "learned by the teacher")


def _remembers(run: Path, path: str, wanted: str, got: str) -> OptionError:
    return OptionError(
        f"the teacher has seen what a fold of {path} holds out",
        where=run,
        wanted=wanted,
        got=got,
        remedy="bind the teacher with the same folds",
    )


def _tower(file: Path) -> OpenTeacher:
    module, info, bank = tower_file.read(file)
    prepare = stacked(preprocess.build(info.preprocess))
    return OpenTeacher(
        file,
        info.modality,
        info.space,
        module,
        prepare,
        info.dim,
        info.window,
        info.preprocess,
        info.logit_scale,
        bank,
    )


def _bundle(folder: Path) -> OpenTeacher:
    backed = Backed(folder)
    of = backed.bundle.manifest
    return OpenTeacher(
        folder,
        of.modality,
        of.space,
        backed,
        backed.prepare,
        of.dim,
        of.window,
        of.preprocess,
        of.logit_scale,
        backed.bundle.labels,
    )


def _imagebind(file: Path, how: Teacher, modality: str) -> OpenTeacher:
    from edgebind.export.original import IMAGEBIND
    from edgebind.models import checkpoint
    from edgebind.models.imagebind import EMBEDDING, logit_scale

    module = checkpoint.load_towers(file, [modality])[modality]
    built = preprocess.build(how.preprocess) if how.preprocess else preprocess.for_imagebind(modality)
    window = WindowSpec.of_imagebind(modality)
    if how.window:
        window = from_table(WindowSpec, how.window, where="recipe", prefix="teacher.window.")
    return OpenTeacher(
        file,
        modality,
        IMAGEBIND,
        module,
        stacked(built),
        EMBEDDING,
        window,
        built.to_dict(),
        logit_scale(module),
        LabelBank.empty(EMBEDDING),
    )
