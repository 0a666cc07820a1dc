"""Recipes of small distillations, labelled and not, and what a run has written."""

from __future__ import annotations

import json
from pathlib import Path

from edgebind.train import distil_recipe
from edgebind.train.distil_recipe import DistilRecipe

RECIPE = """
seed = 5
out = "OUT"
licence = "none"

[teacher]
checkpoint = "TEACHER"

[student]
modality = "imu"
tower = "imu-xs"
preprocess = { kind = "imu" }

[cache]
records = 12
record = 8
shard = 5

[losses]
affinity = 1.0
prompt_affinity = 1.0
contrast = 1.0
mse = 1.0

[training]
steps = 12
batch = 16
learning_rate = 0.003
warmup_steps = 2
save_every = 5

[[data]]
reader = "spsw"
path = "DATA"
folds = [["s01"], ["s02"]]

[[prompts]]
label = "WALKING"
texts = ["walking", "a person walking"]

[[prompts]]
label = "SEATED"
texts = ["sitting"]

[[questions]]
name = "activity"
groups = [["WALKING"], ["SEATED"]]
"""

UNLABELLED = """
seed = 5
out = "OUT"

[teacher]
checkpoint = "TEACHER/tower.safetensors"

[student]
modality = "imu"
tower = "imu-xs"
preprocess = { kind = "imu" }

[cache]
records = 12
record = 8
shard = 5

[training]
steps = 12
batch = 16
chunk = 8
learning_rate = 0.003
warmup_steps = 2
save_every = 5

[[data]]
reader = "recordings"
path = "DATA"
parts = 2
"""


def plan(taught: Path, out: Path, text: str = RECIPE) -> DistilRecipe:
    """The recipe `text`, filled in and read, with its run below `out`."""
    data = taught / ("data" if text is RECIPE else "recordings")
    filled = text.replace("OUT", str(out / "run")).replace("TEACHER", str(taught / "teacher"))
    (out / "recipe.toml").write_text(filled.replace("DATA", str(data)))
    return distil_recipe.read(out / "recipe.toml")


def losses(out: Path) -> list[tuple[str, int, float]]:
    """Stage, step and loss of each line that a run has written."""
    path = out / "losses.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [(entry["stage"], entry["step"], entry["loss"]) for entry in map(json.loads, lines)]
