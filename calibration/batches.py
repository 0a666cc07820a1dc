"""Model inputs with the name of the recording they came from, and what they are for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import CalibrationError


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some windows of one recording, preprocessed: what an encoder reads."""

    recording: str
    """For messages and reports: where the windows come from."""
    inputs: np.ndarray
    """(batch, ...) float32, or int64 token ids."""
    starts: NDArray[np.int64] | None = None
    """(batch,) nanoseconds of the recording's own clock, where that is known."""
    traits: NDArray[np.float32] | None = None
    """(batch, n): the windows in their sensor's units, see `edgebind.traits`, where that is known."""

    def __post_init__(self) -> None:
        if self.inputs.dtype.kind == "f" and not np.isfinite(self.inputs).all():
            raise CalibrationError(
                "a window with values that are no numbers", where=self.recording, remedy="leave this recording out"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, which: slice | NDArray[np.intp]) -> Batch:
        """Some of the windows."""
        starts = None if self.starts is None else self.starts[which]
        traits = None if self.traits is None else self.traits[which]
        return Batch(self.recording, self.inputs[which], starts, traits)

    @classmethod
    def together(cls, batches: Sequence[Batch]) -> Batch:
        """Some batches of one recording as one."""
        starts = [batch.starts for batch in batches if batch.starts is not None]
        traits = [batch.traits for batch in batches if batch.traits is not None]
        return cls(
            batches[0].recording,
            np.concatenate([batch.inputs for batch in batches]),
            np.concatenate(starts) if len(starts) == len(batches) else None,
            np.concatenate(traits) if len(traits) == len(batches) else None,
        )


@dataclass(frozen=True, slots=True)
class Material:
    """The windows of a calibration, in two parts; no recording is in both."""

    calibration: Sequence[Batch]
    """Held in memory: on these observers are chosen and layers compared."""
    held_out: Sequence[Batch]
    """On these an encoder is judged."""
    observed: Iterable[Batch] | None = None
    """Windows that ranges are taken from, read one by one; None takes as many of `calibration` as are affordable."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For the report: which set, and how it was drawn."""
    kind: str = "recordings"


def pieces(batches: Sequence[Batch], size: int) -> Iterator[Batch]:
    """The same windows in batches of at most `size`."""
    for batch in batches:
        for start in range(0, len(batch), size):
            yield batch.part(slice(start, start + size))


def inputs(batches: Sequence[Batch], size: int) -> Iterator[NDArray[Any]]:
    """The windows in arrays of at most `size`, those of several recordings together: pictures are recordings of one window."""
    waiting: list[NDArray[Any]] = []
    for batch in pieces(batches, size):
        if sum(map(len, waiting)) + len(batch) > size:
            yield np.concatenate(waiting)
            waiting = []
        waiting.append(batch.inputs)
    if waiting:
        yield np.concatenate(waiting)


def count(batches: Sequence[Batch]) -> int:
    """Windows in all of them."""
    return sum(map(len, batches))


def spread(batches: Sequence[Batch], limit: int) -> list[Batch]:
    """At most about `limit` windows, evenly spaced over each recording and at least one of each."""
    step = max(1.0, count(batches) / limit)
    return [batch.part(_places(len(batch), step)) for batch in batches if len(batch)]


def _places(windows: int, step: float) -> NDArray[np.intp]:
    """0, step, 2 x step, ... as whole numbers below `windows`."""
    places = np.arange(0, windows, step).astype(np.intp)
    return places[places < windows]  # a step with a fraction may round up to one place too many
