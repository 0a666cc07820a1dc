"""The training step: chunks and processes change its memory and its speed, never its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgebind.errors import EdgebindError, OptionError
from edgebind.train import processes
from edgebind.train.engine import Engine, _Statistics, schedule
from edgebind.train.recipe import Training
from tests.train import objectives, two_processes


def _without_chance(running: objectives.TwoTowers) -> objectives.TwoTowers:
    """No dropout, and BatchNorm that does not look at its batch: then a batch does not care how it is cut."""
    for name, part in list(running.towers.named_modules()):
        if isinstance(part, (nn.Dropout, nn.BatchNorm1d)):
            parent, _, last = name.rpartition(".")
            setattr(running.towers.get_submodule(parent), last, nn.Identity())
    return running


class _SameData(objectives.TwoTowers):
    """Chunks that are cut from one batch of 24."""

    def draw(self, step: int, chunk: int, size: int, rng: np.random.Generator) -> objectives.Drawn:
        whole = super().draw(step, 0, 24, np.random.default_rng(step))
        one, other, kinds = (rows[chunk * size : (chunk + 1) * size] for rows in whole)
        return one, other, kinds


@pytest.mark.parametrize("chunk", [1, 6, 12])
def test_chunks_give_the_gradient_of_the_whole_batch(chunk: int) -> None:
    whole = objectives.engine(24, objective=_without_chance(_SameData()))
    cut = objectives.engine(chunk, objective=_without_chance(_SameData()))
    for _ in range(3):
        assert whole.advance()["loss"] == pytest.approx(cut.advance()["loss"], rel=1e-5)
    expected = objectives.gradients(whole)
    for name, gradient in objectives.gradients(cut).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def _part(running: Engine[objectives.Drawn], number: int) -> Any:
    return running.objective.towers.get_submodule(f"left.{number}")


def test_a_chunk_passes_twice_through_the_same_dropout() -> None:
    # With dropout and BatchNorm the gradient must be that of the loss that was computed: nudge a weight and see.
    def loss_with(nudge: float) -> float:
        running = objectives.engine(6)
        weight = _part(running, 0).weight
        with torch.no_grad():
            weight[3, 2] += nudge
        return running.advance()["loss"]

    running = objectives.engine(6)
    running.advance()
    weight = _part(running, 0).weight
    assert weight.grad is not None
    slope = (loss_with(1e-2) - loss_with(-1e-2)) / 2e-2
    assert float(weight.grad[3, 2]) == pytest.approx(slope, rel=0.05, abs=1e-3)


def test_batchnorm_takes_the_mean_over_chunks_once_a_step() -> None:
    running = objectives.engine(6)
    running.advance()
    norm = _part(running, 1)
    assert norm.num_batches_tracked == 1
    fresh = objectives.TwoTowers()
    chunks = [fresh.draw(0, at, 6, np.random.default_rng([7, 0, at]))[0] for at in range(4)]
    with torch.no_grad():
        rows = [fresh.towers.get_submodule("left.0")(chunk) for chunk in chunks]
    expected = 0.1 * torch.stack([row.mean(dim=0) for row in rows]).mean(dim=0)  # momentum 0.1, from zero
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    out = tmp_path / "two.pt"
    two_processes.run(str(Path(objectives.__file__)), str(out))
    two = torch.load(out, weights_only=True)
    one = objectives.engine(6)
    np.testing.assert_allclose([one.advance()["loss"] for _ in range(3)], two["losses"], rtol=1e-5)
    for name, gradient in objectives.gradients(one).items():
        torch.testing.assert_close(two["gradients"][name], gradient, rtol=1e-5, atol=1e-6, msg=name)
    variances = {name: value for name, value in one.objective.towers.state_dict().items() if "running_var" in name}
    assert len(variances) == 2
    for name, value in variances.items():
        torch.testing.assert_close(two["towers"][name], value, rtol=1e-4, atol=1e-5, msg=name)
    # A thread of gloo that lives on until the interpreter ends may abort the process there.
    assert not [name for name in two["threads"] if "gloo" in name]


def test_a_saved_state_goes_on_exactly(tmp_path: Path) -> None:
    whole, stopped = objectives.engine(6), objectives.engine(6)
    expected = [whole.advance()["loss"] for _ in range(6)]
    for _ in range(4):
        stopped.advance()
    stopped.save(tmp_path / "state.pt")
    resumed = objectives.engine(6)
    torch.manual_seed(99)  # nothing may hang on torch's own chance
    resumed.restore(tmp_path / "state.pt")
    assert [resumed.advance()["loss"] for _ in range(2)] == expected[4:]
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(resumed.average.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_a_state_of_another_recipe_or_of_no_kind_is_one_clear_line(tmp_path: Path) -> None:
    first = objectives.engine(6)
    first.save(tmp_path / "state.pt")
    first.fingerprint = "another"
    with pytest.raises(OptionError, match="the run in progress has another recipe"):
        first.restore(tmp_path / "state.pt")
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:100])
    with pytest.raises(OptionError, match="the state of the run cannot be read"):
        first.restore(tmp_path / "state.pt")


def test_a_loss_that_is_no_number_names_the_row() -> None:
    running = objectives.engine(6, objective=objectives.TwoTowers(poison_at=2))
    running.advance()
    running.advance()
    before = {name: value.clone() for name, value in running.objective.towers.state_dict().items()}
    with pytest.raises(EdgebindError, match=r"batch 2, chunk 1, row \d: item \d+: the loss at step 2 is nan") as caught:
        running.advance()
    assert "\n" not in str(caught.value)
    for name, value in running.objective.towers.named_parameters():
        torch.testing.assert_close(value.data, before[name], msg="a poisoned step changes no weight")


def test_a_gradient_that_is_no_number_changes_no_weight() -> None:
    running = objectives.engine(6)
    running.advance()
    before = {name: value.clone() for name, value in running.objective.towers.named_parameters()}
    next(running.objective.towers.parameters()).register_hook(lambda gradient: gradient * torch.inf)  # type: ignore[no-untyped-call]
    with pytest.raises(
        EdgebindError, match=r"batch 1, which begins with item \d+: the gradient at step 1 is (nan|inf)"
    ):
        running.advance()
    for name, value in running.objective.towers.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, msg=name)


def test_a_learned_temperature_moves_and_is_not_decayed() -> None:
    running = objectives.engine(24)
    start = float(running.objective.scales["edge"].detach())
    for _ in range(6):
        running.advance()
    assert float(running.objective.scales["edge"].detach()) != start
    plain = running.optimiser.param_groups[1]
    assert plain["weight_decay"] == 0
    assert any(p is running.objective.scales["edge"] for p in plain["params"])


def test_bf16_computes_nearly_the_same() -> None:
    exact, half = objectives.engine(24), objectives.engine(24)
    half.training = replace(half.training, precision="bf16")
    one, other = exact.advance()["loss"], half.advance()["loss"]
    assert one != other
    assert one == pytest.approx(other, rel=0.05)


def test_the_schedule_is_a_ramp_and_half_a_cosine() -> None:
    assert [schedule(step, 4, 12) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule(8, 4, 12) == pytest.approx(0.5)  # half of the way down
    assert schedule(12, 4, 12) == pytest.approx(0.0)


def test_chunks_that_cannot_be_shared_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(OptionError, match="chunks cannot be dealt out evenly"):
        objectives.engine(12)


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"steps": 0}, {"save_every": 0}, {"precision": "fp64"}, {"batch": 10, "chunk": 3}]
)
def test_a_training_that_cannot_be_is_one_clear_line(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=r"training\."):
        Training(**{"steps": 1, "batch": 4, "learning_rate": 0.1, **wrong})  # type: ignore[arg-type]


def test_statistics_of_a_frozen_tower_keep_every_bit() -> None:
    norm = nn.BatchNorm1d(64)
    assert norm.running_mean is not None
    norm.running_mean.copy_(torch.randn(64))
    before = norm.running_mean.clone()
    statistics = _Statistics(norm.eval(), chunks=3)
    for _ in range(3):
        statistics.rewind()
        norm(torch.randn(5, 64))
        statistics.note()
    statistics.settle()
    torch.testing.assert_close(norm.running_mean, before, rtol=0, atol=0)


def test_what_process_0_says_holds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert processes.of_first("09af", cpu) == "09af"
    monkeypatch.setattr(processes, "gather", lambda rows: torch.cat([torch.tensor(list(b"first")), rows]))
    assert processes.of_first("other", cpu) == "first"


def test_processes_that_see_other_files_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    processes.require_agreement("step 3 of everything", cpu)
    monkeypatch.setattr(processes, "gather", lambda rows: torch.cat([rows, rows + 1]))
    with pytest.raises(OptionError, match=r"the processes do not go on at one place .*a disk that all machines share"):
        processes.require_agreement("step 3 of everything", cpu)
