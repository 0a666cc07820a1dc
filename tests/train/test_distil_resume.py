"""A distillation that is killed, stopped or shared among processes gives what an undisturbed one gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgebind.models import tower_file
from edgebind.train import distil
from tests.conftest import ROOT
from tests.train import distilling, two_processes


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_losses(taught: Path, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = distilling.plan(taught, tmp_path / "whole", distilling.UNLABELLED)
    distil.distil(whole)
    expected = distilling.losses(Path(whole.out))
    assert len(expected) == 3 * 12
    killed = Path(distilling.plan(taught, tmp_path / "killed", distilling.UNLABELLED).out)
    # While the teacher speaks, in the first fold, in the second, and then to the end.
    _run_until(tmp_path / "killed", (killed / "cache" / "fold-0" / "vectors-00000.tar").is_file)
    for lines in (3, 20):
        _run_until(tmp_path / "killed", lambda lines=lines: len(_lines_of(killed / "losses.jsonl")) >= lines)
    _run_until(tmp_path / "killed", None)
    assert distilling.losses(killed) == expected
    first, second = (tower_file.read(Path(out) / "tower.safetensors")[0] for out in (whole.out, killed))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=0, atol=0, msg=name)


def _run_until(folder: Path, enough: Any) -> None:
    """Run the command, and kill it as a power cut would once there is enough; to its end when `enough` is None."""
    command = [sys.executable, "-m", "edgebind", "distil", str(folder / "recipe.toml"), "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while enough is not None and child.poll() is None and not enough():
        time.sleep(0.01)  # nothing else can tell when another process has come so far
    if enough is not None:
        child.send_signal(signal.SIGKILL)
    _, said = child.communicate()
    assert child.returncode == (0 if enough is None else -signal.SIGKILL), said.decode()


def _lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else []


@pytest.mark.slow
def test_the_last_stage_teaches_8_bits_and_goes_on_exactly(taught: Path, tmp_path: Path) -> None:
    text = (
        distilling.UNLABELLED.replace("parts = 2", "folds = [['walk_0.csv']]")
        + "\n[quantisation]\nsteps = 8\nwindows = 32\n"
    )
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole, stopped = (distilling.plan(taught, tmp_path / name, text) for name in ("whole", "stopped"))
    report = distil.distil(whole)
    assert set(report["int8"]) == {"before", "after"}
    assert report["int8"]["after"]["cosine_mean"] > 0.99
    assert report["int8"]["after"]["windows"] == report["likeness"]["items"]

    def pull_the_plug(stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None:
        if (stage, step) == ("everything, 8 bits", 6):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil.distil(stopped, progress=pull_the_plug)
    distil.distil(stopped)
    assert distilling.losses(Path(stopped.out)) == distilling.losses(Path(whole.out))
    assert {stage for stage, *_ in distilling.losses(Path(whole.out))} >= {"fold 1 of 1, 8 bits", "everything, 8 bits"}
    towers = [tower_file.read(Path(one.out) / "tower.safetensors")[0].state_dict() for one in (whole, stopped)]
    for name, value in towers[0].items():
        torch.testing.assert_close(value, towers[1][name], rtol=0, atol=0, msg=name)
    assert not [*Path(whole.out).glob("*.pt"), *Path(whole.out).glob("int8-*")]


@pytest.mark.slow
def test_two_processes_distil_what_one_does(taught: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    text = distilling.UNLABELLED.replace("parts = 2", "")
    one, two = (distilling.plan(taught, tmp_path / name, text) for name in ("one", "two"))
    distil.distil(one)
    two_processes.run("-m", "edgebind", "distil", str(tmp_path / "two" / "recipe.toml"), "--threads", "1")
    mine, theirs = distilling.losses(Path(one.out)), distilling.losses(Path(two.out))
    np.testing.assert_allclose([loss for *_, loss in theirs], [loss for *_, loss in mine], rtol=1e-5)
    first, second = (tower_file.read(Path(plan.out) / "tower.safetensors")[0] for plan in (one, two))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
