"""Encoders that can be worked out by hand, and a panel of them: a sample is its own vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgebind.evaluate.dataset import Clip
from edgebind.evaluate.encoder import Encoder, unit_rows
from edgebind.evaluate.panel import Panel
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.signals import Floats

DIM = 6


def sensor(name: str, modality: str, *, space: str = "toy", turn: Floats | None = None, **more: Any) -> Encoder:
    """An encoder whose vector of a sample is the sample itself, turned by a matrix if one is given."""
    matrix = np.eye(DIM, dtype=np.float32) if turn is None else turn

    def run(samples: Sequence[Any]) -> Floats:
        return unit_rows(np.stack([np.ravel(sample) for sample in samples]).astype(np.float32) @ matrix)

    spec = WindowSpec.of_imagebind(modality)
    return Encoder(name, space, modality, DIM, "fp32", "hand", 1.0, spec, f"{name} {modality}", run, **more)


def words(vectors: Mapping[str, Floats], *, space: str = "toy", name: str = "words") -> Encoder:
    """A text encoder that knows just these."""

    def run(samples: Sequence[Any]) -> Floats:
        return unit_rows(np.stack([vectors[text] for text in samples]))

    spec = WindowSpec.of_imagebind("text")
    return Encoder(name, space, "text", DIM, "fp32", "hand", 1.0, spec, name, run)


class HandPanel(Panel):
    """A panel of given encoders."""

    def __init__(self, *encoders: Encoder) -> None:
        super().__init__([])
        self.encoders = encoders

    def of(self, modality: str) -> list[Encoder]:
        return [encoder for encoder in self.encoders if encoder.modality == modality]


def clip(name: str, vector: Floats) -> Clip:
    """As a depth map of one row, which no encoder cuts into windows."""
    return Clip(name, lambda: vector[None])


def text_clip(text: str) -> Clip:
    return Clip(text, lambda: text)


def axes(*numbers: int) -> Floats:
    """Unit rows along these axes."""
    return np.eye(DIM, dtype=np.float32)[list(numbers)]


EMPTY = LabelBank.empty(DIM)
