"""Training in tests is small: one thread, because two would spend their time waiting for each other; one teacher for all students."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgebind.train import bind, recipe
from tests.train import movements


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people, the run of a teacher that knows them, and recordings without a word."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("taught")
    movements.write_people(folder / "data", "s01", "s02", "s03")
    movements.write_recordings(folder / "recordings", 3)
    text = movements.RECIPE.replace("OUT", str(folder / "teacher")).replace("DATA", str(folder / "data"))
    (folder / "teacher.toml").write_text(text)
    plan = recipe.read(folder / "teacher.toml")
    bind.bind(replace(plan, training=replace(plan.training, steps=60)), movements.encode)
    torch.set_num_threads(threads)
    return folder
