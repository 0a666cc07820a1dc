"""`edgebind bind` and `edgebind distil` on single folds, from the command line: two cameras, then a student of one of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgebind import cli
from edgebind.errors import OptionError
from tests.train import worlds

pytest.importorskip("torch")

BIND = """
space = "test"
seed = 0
out = "bound"
dim = 16
{nodes}
[training]
steps = 2
batch = 6
learning_rate = 0.002
warmup_steps = 1

[[edges]]
ends = ["thermal", "depth"]
temperature = 0.1
data = [{{ reader = "table", path = "world/table.jsonl", parts = 3 }}]
"""
NODE = """
[nodes.{name}]
modality = "{name}"
tower = "thermal-xs"
preprocess = {{ kind = "{name}", size = 32, resize = "squash" }}
window = {{ rate_hz = 8.0, seconds = 0.125, hop_seconds = 0.125, channels = ["{name}"], units = ["{unit}"] }}
"""
DISTIL = """
seed = 0
out = "taught"
teacher = {{ checkpoint = "bound", node = "thermal" }}
cache = {{ records = 2, record = 4 }}
training = {{ steps = 2, batch = 4, learning_rate = 0.002, warmup_steps = 1 }}
data = [{{ reader = "table", path = "world/table.jsonl", parts = 3 }}]

[student]
modality = "thermal"
tower = "thermal-xs"
preprocess = {{ kind = "thermal", size = 32, resize = "squash" }}
"""


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    worlds.write(Path("world"), 12)
    nodes = NODE.format(name="thermal", unit="grey level") + NODE.format(name="depth", unit="m")
    Path("bind.toml").write_text(BIND.format(nodes=nodes))
    Path("distil.toml").write_text(DISTIL.format())


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.group, [*arguments, "--threads", "1"])


def test_a_fold_is_measured_and_teaches_the_same_fold() -> None:
    bound = _run("bind", "bind.toml", "--fold", "2", "--fold", "2")
    assert bound.exit_code == 0, bound.exception
    report = json.loads(Path("bound/measured.json").read_text())
    assert report["folds"] == [2]
    assert report["held_out"]["thermal-depth"]["pairs"] == 4
    recall = report["held_out"]["thermal-depth"]["thermal to depth"]["recall@1"]
    assert f"held out thermal-depth thermal to depth: {recall:.3f}" in bound.output
    towers = sorted(path.name for path in Path("bound/folds").iterdir())
    assert towers == ["fold-1-depth.safetensors", "fold-1-thermal.safetensors"]
    taught = _run("distil", "distil.toml", "--fold", "2")
    assert taught.exit_code == 0, taught.exception
    assert "on 4 held-out items" in taught.output
    assert "wrote taught" in taught.output
    assert not Path("taught/tower.safetensors").exists()
    unknown = _run("distil", "distil.toml", "--fold", "1")
    assert isinstance(unknown.exception, OptionError)
    assert "the teacher's run has no such tower" in str(unknown.exception)


@pytest.mark.parametrize("command", ["bind", "distil"])
def test_a_fold_that_is_none_is_one_clear_line(command: str) -> None:
    Path("bound").mkdir()
    done = _run(command, f"{command}.toml", "--fold", "4")
    assert isinstance(done.exception, OptionError)
    assert "no such fold (wanted 1 to 3, got 4)" in str(done.exception)
