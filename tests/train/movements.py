"""People who walk or sit, in a published layout, and words for both: what anyone could tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

RECIPE = """
space = "test"
seed = 3
out = "OUT"
licence = "none"

[nodes.imu]
modality = "imu"
tower = "imu-s"

[nodes.imu.window]
rate_hz = 100.0
seconds = 2.0
hop_seconds = 0.5
channels = ["ax", "ay", "az", "gx", "gy", "gz"]
units = ["m/s²", "m/s²", "m/s²", "rad/s", "rad/s", "rad/s"]

[nodes.imu.preprocess]
kind = "imu"

[nodes.text]
modality = "text"
tower = "sentences"
frozen = true

[training]
steps = 12
batch = 16
learning_rate = 0.003
warmup_steps = 2
save_every = 5

[[edges]]
ends = ["imu", "text"]
temperature = 0.1
prompt_weight = 0.5

[[edges.data]]
reader = "spsw"
path = "DATA"
folds = [["s01"], ["s02"]]

[[edges.prompts]]
label = "WALKING"
texts = ["walking", "a person walking"]

[[edges.prompts]]
label = "SEATED"
texts = ["sitting"]

[[edges.questions]]
name = "activity"
groups = [["WALKING"], ["SEATED"]]
"""


def write_person(folder: Path, person: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = ["x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"]
    for at in range(800):
        walking = at < 400
        swing = 4 * np.sin(at / 8) if walking else 0.0
        values = np.array([swing, 0, 9.8, 0.5 * swing, 0, 0]) + 0.05 * rng.normal(size=6)
        label = "WALKING" if walking else "SEATED"
        lines.append(",".join(f"{v:.5f}" for v in values) + f",{1_600_000_000_000 + at * 10},{label}")
    (folder / person).mkdir(parents=True)
    (folder / person / f"{person}_01_sp.csv").write_text("\n".join(lines) + "\n")


def write_people(folder: Path, *people: str) -> Path:
    """Write some people below `folder`."""
    for seed, person in enumerate(people):
        write_person(folder, person, seed)
    return folder


def write_recordings(folder: Path, count: int) -> Path:
    """Write some walks without a label, as `edgebind run` reads them."""
    folder.mkdir(parents=True)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        lines = ["timestamp_ns,ax,ay,az,gx,gy,gz"]
        for at in range(900):
            swing = 4 * np.sin(at / (6 + seed)) if at % 300 < 200 else 0.0
            values = np.array([swing, 0, 9.8, 0.5 * swing, 0, 0]) + 0.05 * rng.normal(size=6)
            lines.append(f"{at * 10_000_000}," + ",".join(f"{v:.5f}" for v in values))
        (folder / f"walk_{seed}.csv").write_text("\n".join(lines) + "\n")
    return folder


def encode(prompts: Sequence[str]) -> np.ndarray:
    """A stand-in for a sentence encoder: each first letter has a direction of its own."""
    vectors = np.stack([np.random.default_rng(ord(text.split()[-1][0])).normal(size=32) for text in prompts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
