"""Labelled IMU recordings on one time grid, and batches of augmented windows drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgebind import preprocess
from edgebind.errors import OptionError
from edgebind.evaluate.dataset import Labelled
from edgebind.evaluate.datasets import motion
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Floats
from edgebind.train import limits
from edgebind.train.data.task import Batch, HeldOut, Samples, class_index, read_folder, require_every_class, shares
from edgebind.train.recipe import Data, Edge, Node, from_table

CARRIERS = ("phone", "watch", "robot")
"""Each is mounted and moves in its own way, so each is augmented in its own way."""
ROBOT = "robot"


OF_RECORDINGS = ("stretch", "plain", "overhang", "boundary", "boundary_weight", "run_power")
"""Constants of how windows are cut out of labelled recordings; a window that comes alone is as it is."""


@dataclass(frozen=True)
class Augment:
    """How far a window may be bent while it still means the same. Triples are for phone, watch and robot."""

    stretch: tuple[float, ...] = (0.03, 0.03, 0.03)
    """Largest relative change of speed."""
    rotation_deg: tuple[float, ...] = (30.0, 30.0, 4.0)
    """Largest turn of the mounting about a random axis."""
    half_turn: tuple[float, ...] = (0.7, 0.1, 0.0)
    """Probability of a half turn about a random axis: a phone lies in a pocket either way round."""
    gain: tuple[float, ...] = (0.15, 0.15, 0.2)
    """Standard deviation of the log of the movement's strength; gravity is kept."""
    acceleration_noise: float = 0.03
    """m/s², standard deviation."""
    rotation_noise: float = 0.003
    """rad/s, standard deviation."""
    acceleration_bias: float = 0.1
    """m/s², standard deviation."""
    rotation_bias: float = 0.005
    """rad/s, standard deviation."""
    warp: float = 0.0
    """Largest relative change of speed within a window, whose ends and middle stay where they are; below 1."""
    lost: float = 0.05
    """Probability that the gyroscope, or a single channel, is silent."""
    plain: float = 0.3
    """Probability that a window keeps its own speed and grid."""
    overhang: int = 50
    """Samples by which a person's window may reach beyond its recording, whose edge value is then repeated."""
    boundary: int = 10
    """Windows whose centre lies nearer than this many samples to a change of label..."""
    boundary_weight: float = 0.5
    """...are drawn this much less often: where one movement ends is a matter of opinion."""
    run_power: float = 0.5
    """A robot's runs are drawn by length ** this, so that long runs do not drown the short."""

    def __post_init__(self) -> None:
        for name in ("stretch", "rotation_deg", "half_turn", "gain"):
            values = getattr(self, name)
            if len(values) != len(CARRIERS) or not all(0 <= value < math.inf for value in values):
                wanted = "three numbers, none below 0: of a phone, a watch and a robot"
                raise OptionError(f"augment.{name} does not fit", where="recipe", wanted=wanted, got=list(values))
        limits.share("augment.warp", self.warp, whole=False)
        for name in ("lost", "plain", "boundary_weight"):
            limits.share(f"augment.{name}", getattr(self, name))
        for name in (
            "acceleration_noise",
            "rotation_noise",
            "acceleration_bias",
            "rotation_bias",
            "overhang",
            "boundary",
        ):
            limits.at_least(f"augment.{name}", getattr(self, name), 0)


class ImuTask:
    """Batches of windows and held-out windows of the recipe's recordings."""

    def __init__(self, node: Node, edge: Edge, fold: int | None) -> None:
        self.edge = edge
        self.spec: WindowSpec = from_table(WindowSpec, node.window, where="recipe", prefix="window.")
        self.augment: Augment = from_table(Augment, node.augment, where="recipe", prefix="augment.")
        self.classes = class_index(edge)
        self._preprocess = preprocess.build(node.preprocess)
        labelled = [(data, item) for data in edge.data for item in read(data)]
        self._held_out = [item for data, item in labelled if item.group in data.held_out(fold)]
        self._pool = _Pool([item for data, item in labelled if item.group not in data.held_out(fold)], self)
        self._shares = shares(edge)

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """(size, 6, length) encoder inputs and (size,) class indices."""
        drawn = self.samples(size, rng)
        inputs = np.stack([self._preprocess(window) for window in drawn.items])
        return Batch(torch.from_numpy(inputs), torch.from_numpy(drawn.kinds), drawn.name)

    def samples(self, size: int, rng: np.random.Generator) -> Samples:
        """(size, 6, length) windows in m/s² and rad/s."""
        labels = rng.choice(len(self._shares), size, p=self._shares)
        rows = np.array([self._pool.draw(label, rng) for label in labels])
        windows = silence(self.bend(rows, rng), self.augment.lost, rng)
        return Samples(list(windows), labels, lambda at: self._pool.name(rows[at]))

    def bend(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """(size,) rows of the pool -> (size, 6, length) windows around them as another sensor would have seen them."""
        carriers = self._pool.carriers[rows]
        windows = warped(self._cut(rows, carriers, rng), self.augment.warp, rng)
        moved = turned(windows, mountings(carriers, self.augment, rng))
        return disturb(moved, carriers, self.augment, rng).astype(np.float32)

    def _cut(
        self, rows: NDArray[np.int64], carriers: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """(size, 6, length): windows centred on `rows`, at a speed and phase of their own."""
        plain = rng.random(len(rows)) < self.augment.plain
        most = np.array(self.augment.stretch)[carriers]
        stretch = np.where(plain, 1.0, 1 + rng.uniform(-1, 1, len(rows)) * most)
        shift = np.where(plain, 0.0, rng.uniform(-0.5, 0.5, len(rows)))
        steps = np.arange(self.spec.length) - self.spec.length // 2
        at = rows[:, None] + steps * stretch[:, None] + shift[:, None]
        first, last = self._pool.first[rows][:, None], self._pool.last[rows][:, None]
        at = np.clip(at, first, last)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, last)
        part = (at - low)[..., None]
        return (self._pool.samples[low] * (1 - part) + self._pool.samples[high] * part).transpose(0, 2, 1)

    def held_out(self) -> list[HeldOut]:
        """Every whole window of the held-out groups, through the runtime's own windower, by the label at its centre."""
        return [
            HeldOut(np.stack([self._preprocess(window) for window in held.items]), held.kinds)
            for held in self.held_out_samples()
        ]

    def held_out_samples(self) -> list[Samples]:
        windows, labels, names = [], [], []
        for item in self._held_out:
            for window, name in item.windows(self.spec):
                if name in self.classes:
                    windows.append(window.samples)
                    labels.append(self.classes[name])
                    names.append(item.group)
        return [Samples(windows, np.array(labels), names.__getitem__)] if windows else []


def mountings(carriers: NDArray[np.int64], how: Augment, rng: np.random.Generator) -> NDArray[np.float64]:
    """(size, 3, 3): how each sensor is turned."""
    size = len(carriers)
    axis = rng.normal(size=(size, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = rng.random(size) * np.deg2rad(np.array(how.rotation_deg)[carriers])
    half = 2.0 * np.eye(3)[rng.integers(0, 3, size)] - 1
    turned = rng.random(size) < np.array(how.half_turn)[carriers]
    return rotations(axis, angle) * np.where(turned[:, None], half, 1.0)[:, None, :]


def disturb(
    windows: NDArray[np.float64], carriers: NDArray[np.int64], how: Augment, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Another strength of movement, a sensor's bias and its noise."""
    size = len(windows)
    gain = np.exp(rng.normal(size=size) * np.array(how.gain)[carriers])[:, None, None]
    acceleration, rotation = windows[:, :3], windows[:, 3:]
    still = acceleration.mean(axis=2, keepdims=True)
    acceleration = still * (1 + 0.02 * rng.normal(size=(size, 1, 1))) + (acceleration - still) * gain
    level = rng.random((size, 1, 1))
    acceleration = acceleration + how.acceleration_bias * rng.normal(size=(size, 3, 1))
    acceleration += how.acceleration_noise * level * rng.normal(size=acceleration.shape)
    rotation = rotation * gain + how.rotation_bias * rng.normal(size=(size, 3, 1)) * rng.random((size, 1, 1))
    rotation += how.rotation_noise * level * rng.normal(size=rotation.shape)
    return np.concatenate([acceleration, rotation], axis=1)


def warped(windows: NDArray[np.float64], most: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(size, 6, length) of the same way gone now faster, now slower: half of the window at one side of its middle each.

    At v times the speed rotation is v times as fast and acceleration v² times as strong; gravity stays. The push of the
    changing speed itself, far weaker than any shake, is left out.
    """
    if not most:
        return windows  # and no chance is drawn: recipes without it stay what they were
    length = windows.shape[2]
    amount, time = rng.uniform(-most, most, (len(windows), 1)), np.linspace(0, 1, length)
    places = (time + amount * np.sin(2 * np.pi * time) / (2 * np.pi)) * (length - 1)
    speed = (1 + amount * np.cos(2 * np.pi * time))[:, None]
    low = np.minimum(np.floor(places).astype(np.int64), length - 2)[:, None]
    part = places[:, None] - low
    there = np.take_along_axis(windows, low, 2) * (1 - part) + np.take_along_axis(windows, low + 1, 2) * part
    still = windows[:, :3].mean(axis=2, keepdims=True)
    return np.concatenate([still + (there[:, :3] - still) * speed**2, there[:, 3:] * speed], axis=1)


def silence(windows: Floats, lost: float, rng: np.random.Generator) -> Floats:
    """Lose the gyroscope, or one channel, of a few windows; in place."""
    chance = rng.random(len(windows))
    channel = rng.integers(0, 6, len(windows))
    windows[chance < lost / 2, 3:] = 0
    single = (chance >= lost / 2) & (chance < lost)
    windows[single, channel[single]] = 0
    return windows


class _Pool:
    """All recordings to learn from, end to end on the window's grid, and where each class may be centred."""

    def __init__(self, recordings: list[Labelled], task: ImuTask) -> None:
        grids = [on_grid(item, task.spec.rate_hz) for item in recordings]
        lengths = [len(samples) for samples, _ in grids]
        ends = np.cumsum(lengths, dtype=np.int64)
        self.samples = np.concatenate([samples for samples, _ in grids]) if grids else np.zeros((0, 6), np.float32)
        self.first = np.repeat(ends - lengths, lengths)
        self.last = np.repeat(ends - 1, lengths)
        self.carriers = np.repeat([CARRIERS.index(item.carrier) for item in recordings], lengths)
        self._groups, self._rate = [item.group for item in recordings], task.spec.rate_hz
        self._ends = ends
        self._centres, self._odds = self._index(recordings, [labels for _, labels in grids], task)
        require_every_class(np.array([len(rows) for rows in self._centres]), task.edge)

    def draw(self, label: int, rng: np.random.Generator) -> int:
        """A row that may be the centre of a window of this class."""
        return int(self._centres[label][np.searchsorted(self._odds[label], rng.random())])

    def name(self, row: int) -> str:
        """Whose sample a row is, and when."""
        seconds = (row - self.first[row]) / self._rate
        return f"{self._groups[int(np.searchsorted(self._ends, row, side='right'))]} at {seconds:.2f} s"

    def _index(
        self, recordings: list[Labelled], labels: list[NDArray[np.str_]], task: ImuTask
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
        centres: list[list[NDArray[np.int64]]] = [[] for _ in task.classes]
        weights: list[list[NDArray[np.float64]]] = [[] for _ in task.classes]
        offset = 0
        for item, names in zip(recordings, labels, strict=True):
            rows, odds = _centres(names, item.carrier == ROBOT, task.spec.length, task.augment)
            for name, at in task.classes.items():
                mine = names[rows] == name
                power = task.augment.run_power - 1 if item.carrier == ROBOT else 0.0
                centres[at].append(rows[mine] + offset)
                weights[at].append(odds[mine] * max(1, mine.sum()) ** power)
            offset += len(names)
        joined = [np.concatenate(weight) for weight in weights]
        return [np.concatenate(rows) for rows in centres], [np.cumsum(w) / max(w.sum(), 1e-9) for w in joined]


def _centres(
    labels: NDArray[np.str_], robot: bool, length: int, how: Augment
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of one recording that may be a window's centre, and how often each is drawn."""
    reach = length // 2 - (0 if robot else how.overhang)
    rows = np.arange(max(0, reach), len(labels) - max(0, reach))
    changes = np.flatnonzero(labels[1:] != labels[:-1]) + 0.5
    if not len(changes) or not len(rows):
        return rows, np.ones(len(rows))
    distance = np.abs(rows[:, None] - changes).min(axis=1)
    return rows, np.where(distance < how.boundary, how.boundary_weight, 1.0)


def turned(windows: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(batch, 6, length) as turned sensors see it; both sensors sit on one board."""
    return np.concatenate([turn @ windows[:, :3], turn @ windows[:, 3:]], axis=1)


def rotations(axis: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(batch, 3) unit axes and (batch,) radians -> (batch, 3, 3), by Rodrigues' formula."""
    x, y, z = axis.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def on_grid(item: Labelled, rate_hz: float) -> tuple[Floats, NDArray[np.str_]]:
    """A whole recording at a uniform rate: (n, 6) samples and (n,) labels.

    Phones deliver samples in batches, so arrival times are replaced by the straight line through them before they are
    interpolated.
    """
    index = np.arange(len(item.times))
    since = (item.times - item.times[0]) / NANOSECONDS
    slope, _ = np.polyfit(index, since, 1)
    position = np.arange(int((len(index) - 1) * slope * rate_hz) + 1) / (rate_hz * slope)
    samples = np.stack([np.interp(position, index, channel) for channel in item.samples.T], axis=1)
    nearest = np.clip(np.round(position).astype(np.int64), 0, len(index) - 1)
    return samples.astype(np.float32), item.labels[nearest]


def read(data: Data) -> list[Labelled]:
    """All recordings of one folder in its published layout; see `edgebind.train.data.task.read_folder` for errors."""
    return read_folder(data, READERS, lambda item: item.group)


READERS: dict[str, Callable[[Path], list[Labelled]]] = {"spsw": motion.read_spsw, "borealtc": motion.read_borealtc}
