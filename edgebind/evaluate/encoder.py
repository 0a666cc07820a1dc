"""One face for everything that makes vectors: physical units go in, unit rows come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgebind import modality as modalities
from edgebind.backends.base import finite
from edgebind.closing import Closing
from edgebind.errors import RecordingError
from edgebind.evaluate.dataset import Sample
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.preprocess.videos import PUBLISHED, Frames, Sampling, Video
from edgebind.signals import NANOSECONDS, Chunk, Floats, Window
from edgebind.window import Windower

BATCH = 32
"""Inputs in one call."""

Progress = Callable[[int, int], None]
"""Called with the number of items that are done, and of all."""


def _silent(done: int, items: int) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Encoder(Closing):
    """An encoder, whatever runs it."""

    name: str
    """How reports call it."""
    space: str
    modality: str
    dim: int
    precision: str
    """`fp32`, `fp16` or `int8`."""
    runtime: str
    """`torch`, or the name of the bundle's backend."""
    logit_scale: float
    window: WindowSpec
    """What one input of a signal is."""
    digest: str
    """Changes with anything that changes a vector: weights, constants, graph, version of edgebind."""
    run: Callable[[Sequence[Any]], Floats]
    """Samples in physical units, each one input -> (inputs, dim) unit rows."""
    bank: LabelBank = field(default_factory=lambda: LabelBank.empty(0))
    """Prompts that it brings with it."""
    shut: Callable[[], None] = lambda: None
    """Lets go of a session or a device."""
    video: Sampling = PUBLISHED
    """Which frames stand for a video."""
    takes_together: int = 1
    """How many frames of a clip are one input; a clip of another number is seen picture by picture."""

    def embed(self, samples: Sequence[Sample], *, batch: int = BATCH, progress: Progress = _silent) -> Floats:
        """Unit vectors of some samples.

        Parameters
        ----------
        samples: in physical units, as `edgebind.evaluate.dataset.Sample` says. A signal that is longer than the encoder's
            window is cut into windows, and their mean stands for it; so does the mean of a video's clips and crops.
        batch: most inputs in one call.
        progress: called after each call.

        Returns
        -------
        (samples, dim) float32, rows of Euclidean length 1.

        Raises
        ------
        RecordingError: a sample that cannot be true, or is shorter than a window.
        BackendError: the encoder cannot be run, or makes vectors that are no numbers.
        """
        sums = np.zeros((len(samples), self.dim), np.float32)
        waiting: list[tuple[int, Any]] = []
        for at, sample in enumerate(samples):
            waiting += [(at, view) for view in self._views(sample)]
            while len(waiting) >= batch:
                self._add(sums, waiting[:batch])
                del waiting[:batch]
                progress(at + 1, len(samples))
        if waiting:
            self._add(sums, waiting)
        progress(len(samples), len(samples))
        return unit_rows(sums)

    def _views(self, sample: Sample) -> Sequence[Any]:
        if isinstance(sample, Video):
            return _video_views(sample.read(self.video), self.takes_together)
        return views(sample, self.modality, self.window)

    def _add(self, sums: Floats, part: Sequence[tuple[int, Any]]) -> None:
        np.add.at(sums, [at for at, _ in part], finite(self.run([view for _, view in part]), self.name))

    def close(self) -> None:
        self.shut()


def unit_rows(vectors: Floats) -> Floats:
    """Rows of Euclidean length 1; one that is zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return rows


def views(sample: Sample, modality: str, spec: WindowSpec) -> list[Any]:
    """The inputs, in physical units, whose mean vector stands for a sample: one, but for signals longer than a window.

    Raises
    ------
    RecordingError: a signal that is shorter than a window, or has a gap wherever one would fit.
    """
    if isinstance(sample, Window):
        return [sample.samples]
    if isinstance(sample, np.ndarray) and modality == "imu" and sample.ndim == 2:
        sample = _on_the_published_grid(sample, spec)
    if not isinstance(sample, Chunk):
        return [sample]
    windower = Windower(spec)
    found = [*windower.push(sample), *windower.finish()]
    if not found:
        got = f"{(sample.times[-1] - sample.times[0]) / NANOSECONDS:.2f} s" if len(sample) else "nothing"
        raise RecordingError(
            "a signal without a whole window", where=sample.origin or None, wanted=f"{spec.seconds:g} s", got=got
        )
    return [window.samples for window in found]


def _video_views(clips: Frames, together: int) -> list[Any]:
    """(clips, frames, height, width, 3) -> inputs: clips of one (1, frames, ...), or pictures (height, width, 3)."""
    if clips.shape[1] == together > 1:
        return [clip[None] for clip in clips]
    return [frame for clip in clips for frame in clip]


def _on_the_published_grid(samples: Any, spec: WindowSpec) -> Sample:
    """(6, n) at the modality's own rate; as it is, where that is what the encoder reads."""
    rate = modalities.get("imu").rate_hz
    if spec.rate_hz == rate and spec.length == samples.shape[1]:
        return np.asarray(samples)
    times = np.round(np.arange(samples.shape[1]) * (NANOSECONDS / rate)).astype(np.int64)
    return Chunk(times, np.ascontiguousarray(samples.T, np.float32))
