"""What a run leaves is true while it runs and after it was killed: its events, and the recipe it is of."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from edgebind.errors import OptionError
from edgebind.train import launch
from edgebind.train.journal import Journal


def _steps(folder: Path) -> list[int]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars("loss")]


def test_events_are_on_disk_when_a_state_is(tmp_path: Path) -> None:
    """Killed after step 5, whose state was kept after step 3: no step is missing, and none stands there twice."""
    killed = Journal(tmp_path)
    killed.begin("everything", 0)
    for step in range(4):
        killed.write("everything", step, {"loss": float(step)})
    killed.flush()
    assert _steps(tmp_path / "events" / "everything") == [0, 1, 2, 3]
    for step in (4, 5):
        killed.write("everything", step, {"loss": 0.0})
    with Journal(tmp_path) as resumed:
        resumed.begin("everything", 4)
        for step in (4, 5, 6):
            resumed.write("everything", step, {"loss": float(step)})
    assert _steps(tmp_path / "events" / "everything") == list(range(7))
    assert len((tmp_path / "losses.jsonl").read_text().splitlines()) == 7
    killed.close()


def test_a_run_in_progress_keeps_its_recipe(tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text("seed = 1\n")
    launch.note(out, recipe)
    recipe.write_text("seed = 2\n")
    launch.note(out, recipe)  # nothing was in progress
    (out / "state.pt").write_bytes(b"weights")
    recipe.write_text("seed = 2  # a remark\n")
    launch.note(out, recipe)
    recipe.write_text("seed = 3\n")
    with pytest.raises(OptionError, match=r"the run in progress has another recipe .*name another out"):
        launch.note(out, recipe)
    assert (out / "recipe.toml").read_text() == "seed = 2  # a remark\n"
