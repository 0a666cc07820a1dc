"""A run folder while it is worked on: stages go on where they stood, and what a fold gave is not found twice.

fold-0.pt, state.pt      weights and optimiser of the stage in progress; everything's is state.pt
fold-0.json              what a fold gave, until the run ends
run.json                 what the whole run gave
measured.json            what some of its folds gave, where only they were asked for
"""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from edgebind import __version__, atomic
from edgebind.errors import OptionError
from edgebind.train import processes
from edgebind.train.engine import Engine, Objective
from edgebind.train.journal import Journal
from edgebind.train.nodes import Encode
from edgebind.train.recipe import Training

CPU = torch.device("cpu")
EVERYTHING = "everything"
"""The stage that holds nothing out."""

Drawn = TypeVar("Drawn")
Recipe = TypeVar("Recipe", bound="Asked")
_Self = TypeVar("_Self", bound="Run[Any]")


class Progress(Protocol):
    """Told of every step of every stage."""

    def __call__(self, stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None: ...


def silent(stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None:
    """Nobody looks."""


class Asked(Protocol):
    """A recipe: all that decides the outcome."""

    @property
    def out(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def folds(self) -> int: ...


@dataclass(frozen=True)
class Run(Generic[Recipe]):
    """What all stages of one call share."""

    recipe: Recipe
    """What another recipe left in the folder is not taken for this one's."""
    encode: Encode | None
    """Stands in for the sentence encoder."""
    device: torch.device
    journal: Journal
    progress: Progress

    @classmethod
    @contextlib.contextmanager
    def begun(
        cls: type[_Self], recipe: Asked, encode: Encode | None, device: torch.device, progress: Progress | None
    ) -> Iterator[_Self]:
        """A run whose journal is open."""
        with Journal(Path(recipe.out)) as journal:
            yield cls(recipe, encode, device, journal, progress or silent)

    @property
    def out(self) -> Path:
        """The run folder."""
        return Path(self.recipe.out)

    def train(self, name: str, objective: Objective[Drawn], training: Training, state: Path) -> Engine[Drawn]:
        """Train an objective to its last step, from where a stopped run stands.

        Raises
        ------
        OptionError: the state of another recipe.
        EdgebindError: the loss is no number.
        """
        fingerprint = f"{name}: {self.recipe}"
        engine = Engine(objective, training, seed=self.recipe.seed, fingerprint=fingerprint, device=self.device)
        if state.is_file():
            engine.restore(state)
        # Not before all have read it may process 0 go on: a stage that has ended already forgets its state.
        processes.require_agreement(f"step {engine.step} of {name}", self.device)
        self.journal.begin(name, engine.step)
        while engine.step < training.steps:
            step, parts = engine.step, engine.advance()
            self.journal.write(name, step, parts)
            self.progress(name, step, training.steps, parts["loss"])
            if engine.step % training.save_every == 0:
                self._save(engine, state)
        self._save(engine, state)
        return engine

    def _save(self, engine: Engine[Any], state: Path) -> None:
        self.journal.flush()  # first: whoever goes on from this state writes no line before it again
        engine.save(state)

    def state(self, fold: int | None, kind: str = "") -> Path:
        """Where the weights of a stage in progress lie."""
        return self.out / (f"{kind}state.pt" if fold is None else f"{kind}fold-{fold}.pt")

    def results(self, fold: int) -> Path:
        """Where what a fold gave lies."""
        return self.out / f"fold-{fold}.json"

    def kept(self, path: Path, stamp: str = "") -> dict[str, Any] | None:
        """What a stopped run of this recipe has kept in `path`, of files that have the same `edgebind.train.identity.stamp`."""
        if not path.is_file():
            return None
        table = json.loads(path.read_text(encoding="utf-8"))
        is_this = (table["recipe"], table.get("stamp")) == (repr(self.recipe), stamp)
        results: dict[str, Any] | None = table["results"] if is_this else None
        return results

    def keep(self, path: Path, results: dict[str, Any], stamp: str = "") -> None:
        """Leave `results` for a run that goes on."""
        atomic.write_json(path, {"recipe": repr(self.recipe), "stamp": stamp, "results": results})

    def forget(self, fold: int | None) -> None:
        """What a stage no longer needs when it has ended."""
        self.state(fold).unlink(missing_ok=True)

    def clean(self) -> None:
        """Kept only as long as the run may have to go on: the next run measures again, whatever has changed since."""
        self.forget(None)
        for fold in range(self.recipe.folds):
            self.forget(fold)
            self.results(fold).unlink(missing_ok=True)

    def report(self, name: str, found: dict[str, Any]) -> None:
        """Write what the run is for."""
        atomic.write_json(self.out / name, found)


def name_of(fold: int | None, folds: int) -> str:
    """How a stage is called."""
    return EVERYTHING if fold is None else f"fold {fold + 1} of {folds}"


def require_folds(numbers: Sequence[int], folds: int) -> None:
    """Refuse folds that a recipe does not have; `numbers` count from 0.

    Raises
    ------
    OptionError: none is asked for, or one that is not there.
    """
    if not numbers or not set(numbers) <= set(range(folds)):
        wanted = f"1 to {folds}" if folds else "a recipe that holds something out"
        raise OptionError("no such fold", wanted=wanted, got=" ".join(str(number + 1) for number in numbers))


def circumstances(seed: int, device: torch.device) -> dict[str, Any]:
    """What a report says of how it was made."""
    return {
        "seed": seed,
        "versions": {
            "edgebind": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "device": str(device),
        "threads": torch.get_num_threads(),
        "processes": processes.count(),
    }
