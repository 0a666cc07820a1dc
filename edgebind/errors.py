"""Every error edgebind raises on purpose, as one tree.

    EdgebindError                 one clear line for the user; the CLI exits with 2
    ├── OptionError               an option, a precision, a modality or a recipe key that does not exist or does not fit
    ├── MissingDependencyError    an optional package or a driver is not installed
    ├── CheckpointError           weights that are missing, truncated, unsafe or of another model
    ├── RecordingError            sensor data that cannot be read or cannot be true
    ├── BundleError               a bundle that is incomplete, altered or of another format
    ├── BackendError              a graph that the backend at hand cannot load or run
    ├── ExportError               a graph that could not be made
    │   ├── ParityError           it was made, and computes something else
    │   └── CalibrationError      no ranges: no recordings, or recordings that say nothing
    │       └── GateError         INT8 or FP16 that drifts further from FP32 than was allowed
    └── StorageError              the disk is full, read-only or absent

A message answers four questions: where, what, wanted and got, what to do. It is built from those parts, so that no
error can forget one by accident and a caller can read them without parsing text.
"""

from __future__ import annotations

from os import PathLike
from typing import TypeVar

_Self = TypeVar("_Self", bound="EdgebindError")


class EdgebindError(Exception):
    """Base of the tree.

    Parameters
    ----------
    what: the fault, without a full stop.
    where: the file, option or tensor it was found in.
    wanted, got: what would have been right, and what stood there.
    remedy: what the user can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | PathLike[str] | None = None,
        wanted: object = None,
        got: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.wanted = wanted
        self.got = got
        self.remedy = remedy
        super().__init__(self._line())

    def at(self: _Self, where: str | PathLike[str]) -> _Self:
        """The same fault, found in `where`."""
        return type(self)(self.what, where=where, wanted=self.wanted, got=self.got, remedy=self.remedy)

    def _line(self) -> str:
        line = self.what if self.where is None else f"{self.where}: {self.what}"
        contrast = [
            f"{word} {value}" for word, value in (("wanted", self.wanted), ("got", self.got)) if value is not None
        ]
        if contrast:
            line += f" ({', '.join(contrast)})"
        if self.remedy:
            line += f"; {self.remedy}"
        return " ".join(line.split())


class OptionError(EdgebindError):
    """An option, a precision, a modality or a recipe key that does not exist or does not fit."""


class MissingDependencyError(EdgebindError):
    """An optional package or a driver is not installed."""


class CheckpointError(EdgebindError):
    """Weights that are missing, truncated, unsafe or of another model."""


class RecordingError(EdgebindError):
    """Sensor data that cannot be read or cannot be true."""


class BundleError(EdgebindError):
    """A bundle that is incomplete, altered or of another format."""


class BackendError(EdgebindError):
    """A graph that the backend at hand cannot load or run."""


class ExportError(EdgebindError):
    """A graph that could not be made."""


class ParityError(ExportError):
    """A graph was made, and computes something else than its source."""


class CalibrationError(ExportError):
    """No ranges: no recordings, or recordings that say nothing."""


class GateError(CalibrationError):
    """INT8 or FP16 that drifts further from FP32 than was allowed."""


class StorageError(EdgebindError):
    """The disk is full, read-only or absent."""
