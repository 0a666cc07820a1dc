"""`reference.npz`: what the sensor and its vectors looked like when the bundle was calibrated.

    mean, directions, variances    the principal subspace of the calibration's vectors
    names, centre, deviation       each trait's average over a block of windows, and how far a new recording's lies from it

Traits of a window are those of `edgebind.traits` and two of its vector, after the two charts of process monitoring
(Jackson and Mudholkar, "Control Procedures for Residuals Associated With Principal Component Analysis", 1979):

    outside    log of the squared distance from the subspace (Q statistic): what no calibration window had
    inside     log of Hotelling's T² within the subspace: more of it than calibration windows had
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import archive, atomic
from edgebind.errors import BundleError, OptionError, RecordingError
from edgebind.signals import Floats
from edgebind.traits import Traits

FILE = "reference.npz"
FORMAT = "edgebind-reference/1"
OUTSIDE, INSIDE = "outside", "inside"
OF_VECTORS = (OUTSIDE, INSIDE)
NOISE = 1e-4
"""Squared distance below which rounding and 8 bits decide."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a bundle remembers of its calibration."""

    modality: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    mean: Floats
    """(dim,)"""
    directions: Floats
    """(dim, k), columns of length 1, at right angles."""
    variances: Floats
    """(k,) of the calibration's vectors along them."""
    names: tuple[str, ...]
    """Traits: `OF_VECTORS`, then those of `edgebind.traits`."""
    centre: NDArray[np.float64]
    """(traits,) average over held-out recordings."""
    deviation: NDArray[np.float64]
    """(traits,) by which the average over a block of one recording strays from `centre`."""
    seen: NDArray[np.int64]
    """(traits,) recordings, or blocks of a few, that `deviation` was estimated from."""
    block: int
    """Windows in a block, measured or not."""
    every: int
    """Of windows that overlap, one in so many is measured."""
    recordings: int
    """Those held out of calibration; below `LEAST`, blocks stand in for recordings."""

    def scores(self, vectors: Floats) -> Floats:
        """`OF_VECTORS` of unit vectors: (windows, dim) -> (windows, 2)."""
        apart = vectors - self.mean
        along = apart @ self.directions
        total = np.einsum("ij,ij->i", apart, apart)
        np.square(along, out=along)
        outside = np.maximum(total - np.add.reduce(along, axis=1), 0) + NOISE
        return np.log(np.stack([outside, along @ (1 / self.variances) + NOISE], axis=1))

    def traits(self) -> Traits:
        """What measures windows."""
        return Traits(self.modality, self.channels, self.units)

    def to_npz(self, path: Path) -> None:
        """Write it, whole or not at all; the same reference, the same bytes."""
        with atomic.file(path) as scratch, open(scratch, "wb") as stream:
            np.savez(
                stream,
                format=np.array(FORMAT),
                modality=np.array(self.modality),
                channels=np.array(self.channels, dtype=str),
                units=np.array(self.units, dtype=str),
                names=np.array(self.names, dtype=str),
                mean=self.mean,
                directions=self.directions,
                variances=self.variances,
                centre=self.centre,
                deviation=self.deviation,
                seen=self.seen,
                sizes=np.array((self.block, self.every, self.recordings), np.int64),
            )


_WORDS = ("format", "modality", "channels", "units", "names")
_ARRAYS = ("mean", "directions", "variances", "centre", "deviation", "seen", "sizes")


def read(path: Path) -> Reference:
    """Read what `Reference.to_npz` wrote.

    Raises
    ------
    BundleError: missing, damaged, or of another format.
    """
    try:
        arrays = archive.read(path, (*_WORDS, *_ARRAYS))
        if str(arrays["format"]) != FORMAT:
            raise ValueError(f"format {arrays['format']}")
        reference = _from_arrays(arrays)
        _check(reference)
    except (RecordingError, OptionError, KeyError, TypeError, ValueError) as error:
        raise BundleError("not a reference", where=path, wanted=FORMAT, remedy="export the bundle again") from error
    return reference


def _from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Reference:
    block, every, recordings = arrays["sizes"].tolist()
    return Reference(
        modality=str(arrays["modality"]),
        channels=tuple(arrays["channels"].tolist()),
        units=tuple(arrays["units"].tolist()),
        mean=arrays["mean"].astype(np.float32),
        directions=arrays["directions"].astype(np.float32),
        variances=arrays["variances"].astype(np.float32),
        names=tuple(arrays["names"].tolist()),
        centre=arrays["centre"].astype(np.float64),
        deviation=arrays["deviation"].astype(np.float64),
        seen=arrays["seen"].astype(np.int64),
        block=block,
        every=every,
        recordings=recordings,
    )


def _check(reference: Reference) -> None:
    """Refuse arrays that do not belong together, before a stream is halfway."""
    traits = len(reference.names)
    shapes = [array.shape for array in (reference.centre, reference.deviation, reference.seen)]
    dim, directions = reference.directions.shape
    fits = shapes == [(traits,)] * 3 and reference.mean.shape == (dim,) and reference.variances.shape == (directions,)
    known = reference.names == OF_VECTORS + reference.traits().names
    if not (fits and known and reference.block >= reference.every >= 1 and (reference.seen >= 2).all()):
        raise ValueError("arrays that do not fit together")
    if not (reference.deviation > 0).all() or not (reference.variances > 0).all():
        raise ValueError("a deviation that is none")
