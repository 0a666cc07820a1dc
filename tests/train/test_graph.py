"""A graph of three cameras: two edges bind three, pairs that share no edge align all the same, a killed run goes on exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebind.errors import OptionError
from edgebind.models import checkpoint, imagebind, tower_file
from edgebind.train import bind, nodes, recipe
from edgebind.train.recipe import Node, Recipe
from tests.conftest import ROOT
from tests.train import worlds

RECIPE = """
space = "test"
seed = 1
out = "OUT"
dim = 32

[nodes.thermal]
modality = "thermal"
tower = "thermal-xs"
augment = { crop = 0.2, flip = 0.5, gain = 0.1 }
preprocess = { kind = "thermal", size = 32, resize = "squash", normalise = "standard" }
window = { rate_hz = 8.0, seconds = 0.125, hop_seconds = 0.125, channels = ["intensity"], units = ["grey level"] }

[nodes.vision]
modality = "vision"
tower = "vision-s"
augment = { crop = 0.2, flip = 0.5, colour = 0.1 }
preprocess = { kind = "vision", size = 32, resize = "squash" }
window = { rate_hz = 8.0, seconds = 0.125, hop_seconds = 0.125, channels = ["red", "green", "blue"], units = ["grey level", "grey level", "grey level"] }

[nodes.depth]
modality = "depth"
tower = "depth-s"
augment = { crop = 0.2, flip = 0.5 }
preprocess = { kind = "depth", size = 32, resize = "squash", mean = 10.0, std = 5.0 }
window = { rate_hz = 8.0, seconds = 0.125, hop_seconds = 0.125, channels = ["distance"], units = ["m"] }

[training]
steps = 20
batch = 16
chunk = 8
learning_rate = 0.003
warmup_steps = 2
save_every = 3

[[edges]]
ends = ["thermal", "vision"]
temperature = 0.1
learn_temperature = true
data = [{ reader = "folders", path = "WORLD", folders = ["ir", "vi"], parts = 4 }]

[[edges]]
ends = ["depth", "vision"]
temperature = 0.1
data = [{ reader = "table", path = "WORLD/table.jsonl" }]

[[alignments]]
ends = ["thermal", "depth"]
data = [{ reader = "table", path = "FRESH/table.jsonl" }]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Recipe:
    worlds.write(tmp_path / "world", 48)
    worlds.write(tmp_path / "fresh", 40, seed=9)
    path = tmp_path / "recipe.toml"
    text = RECIPE.replace("OUT", str(tmp_path / "run"))
    path.write_text(text.replace("WORLD", str(tmp_path / "world")).replace("FRESH", str(tmp_path / "fresh")))
    return recipe.read(path)


def _node(plan: Recipe, name: str, **changes: object) -> Recipe:
    return replace(plan, nodes={**plan.nodes, name: replace(plan.nodes[name], **changes)})  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_shares_no_edge_comes_together(plan: Recipe, tmp_path: Path) -> None:
    worlds.write(tmp_path / "world", 400)
    long = replace(plan, training=replace(plan.training, steps=150, batch=48, chunk=0))
    edges = (replace(long.edges[0], data=(replace(long.edges[0].data[0], parts=0),)), long.edges[1])
    report = bind.bind(replace(long, edges=edges))
    emergent = report["emergent"]["thermal-depth"]
    assert not emergent["share_an_edge"]
    assert emergent["chance"] == 1 / 40
    assert emergent["thermal to depth"]["recall@1"] > 8 * emergent["chance"]
    assert emergent["depth to thermal"]["recall@1"] > 8 * emergent["chance"]


@pytest.mark.slow
def test_the_run_folder_has_all_towers_and_says_how(plan: Recipe) -> None:
    report = bind.bind(plan)
    out = Path(plan.out)
    held = report["held_out"]["thermal-vision"]
    assert held["pairs"] == 48
    assert held["chance"] == pytest.approx(4 / 48, abs=1e-4)  # one of twelve, in each fold
    assert 0 <= held["thermal to vision"]["recall@1"] <= held["thermal to vision"]["recall@10"] <= 1
    assert report["temperatures"]["thermal-vision"] != 0.1
    assert report["temperatures"]["depth-vision"] == 0.1
    assert sorted(path.name for path in out.glob("*.safetensors")) == [
        "tower-depth.safetensors",
        "tower-thermal.safetensors",
        "tower-vision.safetensors",
    ]
    assert len(list((out / "folds").glob("fold-?-thermal.safetensors"))) == 4
    assert not list(out.glob("*.pt")), "nothing of the way is left when the run has come to its end"
    assert list((out / "events").rglob("events.out.tfevents*"))
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert len(lines) == 5 * 20
    assert set(lines[0]) == {"stage", "step", "loss", "thermal-vision", "depth-vision"}
    assert lines[0]["loss"] == pytest.approx(lines[0]["thermal-vision"] + lines[0]["depth-vision"])
    _, info, bank = tower_file.read(out / "tower-thermal.safetensors")
    assert (info.modality, info.dim, len(bank)) == ("thermal", 32, 0)
    assert info.logit_scale == pytest.approx(1 / report["temperatures"]["thermal-vision"], rel=1e-3)


def _losses(out: Path) -> list[tuple[str, int, float]]:
    path = out / "losses.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [(entry["stage"], entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_losses(plan: Recipe, tmp_path: Path) -> None:
    few = (replace(plan.edges[0], data=(replace(plan.edges[0].data[0], parts=2),)), plan.edges[1])
    bind.bind(replace(plan, out=str(tmp_path / "whole"), edges=few))
    expected = _losses(tmp_path / "whole")
    text = (tmp_path / "recipe.toml").read_text().replace("parts = 4", "parts = 2")
    (tmp_path / "recipe.toml").write_text(text)
    for enough in (5, 31, 999):  # in the first fold, in the second, and then to the end
        _run_until(tmp_path, enough)
    assert _losses(Path(plan.out)) == expected


def _run_until(folder: Path, lines: int) -> None:
    """Run the command and kill it, as a power cut would, once so many losses are written."""
    command = [sys.executable, "-m", "edgebind", "bind", str(folder / "recipe.toml"), "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while child.poll() is None and len(_lines_of(folder / "run" / "losses.jsonl")) < lines:
        time.sleep(0.02)  # nothing else can tell when another process has come so far
    child.send_signal(signal.SIGKILL)
    _, said = child.communicate()
    assert child.returncode == (0 if lines == 999 else -signal.SIGKILL), said.decode()


def _lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else []


# --- anchors ----------------------------------------------------------------------------------------------------------


def test_a_cached_anchor_needs_no_tower(plan: Recipe, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(48, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = np.array([f"/somewhere/{at:04}.png" for at in range(48)])
    np.savez(tmp_path / "vision.npz", embeddings=rows, source=names)
    cached = _node(plan, "vision", tower="cached", checkpoint=str(tmp_path / "vision.npz"), frozen=True, augment={})
    alone = replace(cached, dim=0, edges=cached.edges[:1], alignments=())
    report = bind.bind(replace(alone, nodes={name: alone.nodes[name] for name in ("thermal", "vision")}))
    assert report["held_out"]["thermal-vision"]["pairs"] == 48
    _, info, _ = tower_file.read(Path(plan.out) / "tower.safetensors")
    assert info.dim == 24


def test_a_frozen_tower_with_a_head_learns_its_head_alone(plan: Recipe, tmp_path: Path) -> None:
    first = replace(plan, out=str(tmp_path / "first"), training=replace(plan.training, steps=4))
    bind.bind(
        replace(
            first, edges=(replace(plan.edges[1]),), nodes={n: plan.nodes[n] for n in ("depth", "vision")}, alignments=()
        )
    )
    given = tmp_path / "first" / "tower-vision.safetensors"
    headed = _node(plan, "vision", checkpoint=str(given), frozen=True, linear_head=True)
    short = replace(headed, training=first.training, edges=(replace(plan.edges[1]),), alignments=())
    bind.bind(replace(short, nodes={n: short.nodes[n] for n in ("depth", "vision")}))
    before, after = (
        tower_file.read(path)[0].state_dict() for path in (given, Path(plan.out) / "tower-vision.safetensors")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.slow
def test_imagebinds_own_tower_is_an_anchor_and_can_be_headed(tmp_path: Path) -> None:
    tower = imagebind.build_tower("imu").eval()
    checkpoint.save_towers(tmp_path / "imu.safetensors", {"imu": tower})
    node = Node("imu", "imagebind", checkpoint=str(tmp_path / "imu.safetensors"), frozen=True)
    inputs = [np.random.default_rng(at).normal(size=(6, 2000)).astype(np.float32) + 5 for at in range(2)]
    plain = _opened(node)
    with torch.no_grad():
        expected = tower(plain.prepare(inputs))
    torch.testing.assert_close(plain.module(plain.prepare(inputs)), expected)
    assert not plain.is_trained
    headed = _opened(replace(node, linear_head=True))
    learned = [name for name, p in headed.module.named_parameters() if p.requires_grad]
    assert len(learned) == 1 and learned[0].startswith("head.")
    assert headed.module(headed.prepare(inputs)).shape == (2, 1024)


def _opened(node: Node) -> nodes.NodeTower:
    """A node beside a student that learns."""
    student = Node("thermal", "thermal-xs", preprocess={"kind": "thermal", "size": 32})
    edge = recipe.Edge(("student", "anchor"), (), temperature=0.1)
    how = recipe.Training(steps=1, batch=2, learning_rate=0.1)
    plan = Recipe("test", 0, "out", {"student": student, "anchor": node}, (edge,), how)
    return nodes.open_nodes(plan)["anchor"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frozen": True}, "is frozen and has no weights"),
        ({"tower": "imu-q"}, "unknown student"),
        ({"tower": "sentences"}, "cannot be trained"),
        ({"tower": "cached", "checkpoint": "/nowhere.npz", "frozen": True}, "no cached embeddings"),
        ({"augment": {"blur": 1}}, "unknown key 'augment.blur'"),
    ],
)
def test_a_node_that_cannot_be_is_one_clear_line(plan: Recipe, change: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        bind.bind(_node(plan, "vision", **change))
    assert "\n" not in str(caught.value)


def test_a_space_without_length_is_one_clear_line(plan: Recipe) -> None:
    with pytest.raises(OptionError, match="nothing says how long a vector is"):
        bind.bind(replace(plan, dim=0))


def test_two_lengths_are_one_clear_line(plan: Recipe, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "v.npz", embeddings=np.eye(24, dtype=np.float32), source=np.array([f"{at}.png" for at in range(24)])
    )
    cached = _node(plan, "vision", tower="cached", checkpoint=str(tmp_path / "v.npz"), frozen=True, augment={})
    with pytest.raises(OptionError, match="vectors of two lengths"):
        bind.bind(cached)
