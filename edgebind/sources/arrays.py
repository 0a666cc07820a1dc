"""NPZ: `times` (n,) int64 nanoseconds, and `samples` (n, channels) SI or `frames` (n, height, width[, 3]), unless units are given.

Arrays of Python objects are refused: reading them would run a pickle.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgebind import archive
from edgebind import modality as modalities
from edgebind.closing import Closing
from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Chunk, Times
from edgebind.sources.checks import Plausible, refuse_far_times
from edgebind.sources.columns import CHANNELS
from edgebind.sources.cutting import even_times, pieces, same_rate
from edgebind.sources.frames import to_physical
from edgebind.sources.units import QUANTITIES, TIME, Units

Array = NDArray[Any]


class ArraySource(Closing):
    """A recording in an NPZ file."""

    def __init__(
        self,
        path: Path,
        modality: str,
        spec: WindowSpec,
        *,
        rate_hz: float | None = None,
        units: Units | None = None,
        chunk_seconds: float = 0.02,
    ) -> None:
        """Replay `path`.

        Parameters
        ----------
        rate_hz: for files without `times`; cameras then fall back to the bundle's rate.
        units: of what is not in SI units.
        chunk_seconds: how much of a signal a chunk holds.
        """
        self.path = path
        self.name = str(path)
        self.modality = modality
        self._spec = spec
        self._rate = rate_hz
        self._units = units or Units()
        self._is_camera = modalities.get(modality).is_camera
        self._chunk = max(1, round(chunk_seconds * NANOSECONDS))

    def __iter__(self) -> Iterator[Chunk]:
        if self._is_camera:
            yield from self._frames()
            return
        times, values = self._read()
        given = self._units.given
        with np.errstate(over="ignore"):  # too large becomes infinity, which is refused below with its row
            samples = (values * self._factors()).astype(np.float32) if given else values.astype(np.float32)
        plausible = Plausible(self._spec, self.name, frozenset(given), in_g=given.get("acc") == "g")
        plausible.check(times, samples, self._row)
        plausible.finish()
        yield from pieces(times, samples, self._chunk, self.name)

    def _factors(self) -> Array:
        """(channels,), to SI units."""
        given = self._units.given
        quantities = [CHANNELS.get(name, ("", 0))[0] for name in self._spec.channels]
        return np.array([QUANTITIES[name][given[name]] if name in given else 1.0 for name in quantities])

    def _frames(self) -> Iterator[Chunk]:
        """One after the other, since an hour of them fits no memory."""
        with archive.rows(self.path, "frames") as frames:
            if frames is None:
                self._refuse_absence("frames")
            self._check_shape(frames, "frames")
            times = self._times(archive.read(self.path, ("times",)).get("times"), len(frames))
            back = np.flatnonzero(np.diff(times) < 0)
            if len(back):
                raise RecordingError("time goes backwards", where=self._row(int(back[0]) + 1))
            for index, values in enumerate(frames):
                self._check_frame(values, index)
                frame = to_physical(values, self.modality, self._units, self._row(index))
                yield Chunk(times[index : index + 1], frame[None], self.name)

    def _row(self, row: int) -> str:
        return f"{self.name}, row {row}"

    def _read(self) -> tuple[Times, Array]:
        arrays = archive.read(self.path, ("samples", "times"))
        if "samples" not in arrays:
            self._refuse_absence("samples")
        values = arrays["samples"]
        self._check_shape(values, "samples")
        return self._times(arrays.get("times"), len(values)), values

    def _refuse_absence(self, key: str) -> NoReturn:
        raise RecordingError(f"no array {key!r}", where=self.path, wanted=f"{key} and times")

    def _check_shape(self, values: Array | archive.Rows, key: str) -> None:
        if values.dtype.kind not in "uif":
            raise RecordingError(f"{key} are no numbers", where=self.path, got=f"dtype {values.dtype}")
        if self._is_camera:
            fits, wanted = values.ndim in (3, 4), "(n, height, width)"
        else:
            channels = len(self._spec.channels)
            fits, wanted = values.ndim == 2 and values.shape[1] == channels, f"(n, {channels})"
        if not fits:
            raise RecordingError(f"{key} have another shape", where=self.path, wanted=wanted, got=values.shape)
        if not len(values):
            raise RecordingError("no samples", where=self.path, wanted=f"at least one of {key}", got=0)

    def _times(self, times: Array | None, count: int) -> Times:
        if times is None:
            rate = self._rate or (self._spec.rate_hz if self._is_camera else None)
            if rate is None:
                raise RecordingError("no array 'times'", where=self.path, remedy="or say --rate HZ")
            return even_times(0, count, rate)
        if times.dtype.kind not in "ui" or times.shape != (count,):
            got = f"{times.dtype} {times.shape}"
            raise RecordingError("times do not fit", where=self.path, wanted=f"int64 nanoseconds, ({count},)", got=got)
        unit = self._units.given.get("time", "ns")
        refuse_far_times(times, unit, self._row)
        stamps = times.astype(np.int64) * int(TIME[unit])
        if self._rate is not None:
            same_rate(stamps, self._rate, self.name)
            return even_times(0, count, self._rate)
        return stamps

    def _check_frame(self, frame: Array, index: int) -> None:
        if frame.dtype.kind == "f" and not np.isfinite(frame).all():
            raise RecordingError("not a number", where=self._row(index), wanted="finite values", got="NaN or infinity")
