"""Physical units -> model input, one file a modality.

Training and device call the same objects: a bundle's manifest carries the dictionary that `to_dict` gives, and `build`
makes the equal object from it. Nothing here needs torch; Pillow, PyAV and the text packages load when first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgebind import modality as modalities
from edgebind.errors import BundleError
from edgebind.preprocess import config as _config
from edgebind.preprocess.audio import AudioPreprocessor
from edgebind.preprocess.depth import DepthPreprocessor
from edgebind.preprocess.imu import ImuPreprocessor
from edgebind.preprocess.tail import Tail
from edgebind.preprocess.text import TextPreprocessor
from edgebind.preprocess.thermal import ThermalPreprocessor
from edgebind.preprocess.vision import VisionPreprocessor

__all__ = [
    "AudioPreprocessor",
    "BatchPreprocessor",
    "DepthPreprocessor",
    "ImuPreprocessor",
    "PixelPreprocessor",
    "Preprocessor",
    "Tail",
    "TextPreprocessor",
    "ThermalPreprocessor",
    "VisionPreprocessor",
    "build",
    "for_imagebind",
    "tail_of",
]


class Preprocessor(Protocol):
    """One window or frame in physical units -> one model input."""

    @property
    def kind(self) -> str:
        """The modality, and the `kind` of the manifest's dictionary."""
        ...

    def __call__(self, samples: NDArray[Any]) -> NDArray[Any]:
        """One input without batch axis: float32, int64 for text; RecordingError when `samples` cannot be true."""
        ...

    def to_dict(self) -> dict[str, object]:
        """The manifest's dictionary; `build` gives back an equal object."""
        ...


@runtime_checkable
class BatchPreprocessor(Preprocessor, Protocol):
    """A preprocessor that takes many windows of one shape for less than it costs to take them one by one."""

    def batch(self, samples: NDArray[Any]) -> NDArray[Any]:
        """(n, ...) windows -> (n, ...) inputs, the same as n calls would give."""
        ...


@runtime_checkable
class PixelPreprocessor(Preprocessor, Protocol):
    """A preprocessor whose call is `tail(pixels(samples))`: a runtime with a GPU may take the pixels and do the rest there."""

    is_always_8_bit: ClassVar[bool]
    """Whether no other samples come, so that an engine may take pixels without being asked to."""

    @property
    def tail(self) -> Tail | None:
        """None where its constants allow none."""
        ...

    def pixels(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """uint8 `tail.shape`; RecordingError as from a call."""
        ...

    def frame(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """uint8 (height, width, channels), of which `pixels` are resized; RecordingError as from a call."""
        ...


_Vector = AudioPreprocessor | ImuPreprocessor | TextPreprocessor
_Picture = DepthPreprocessor | ThermalPreprocessor | VisionPreprocessor

_KINDS: dict[str, type[_Vector] | type[_Picture]] = {
    "audio": AudioPreprocessor,
    "depth": DepthPreprocessor,
    "imu": ImuPreprocessor,
    "text": TextPreprocessor,
    "thermal": ThermalPreprocessor,
    "vision": VisionPreprocessor,
}


def build(config: Mapping[str, object]) -> Preprocessor:
    """The preprocessor that the `preprocess` dictionary of a manifest describes.

    Raises
    ------
    BundleError: no dictionary, an unknown kind or key, a value of another type or that does not fit.
    """
    if not isinstance(config, Mapping):
        raise BundleError("is no dictionary", where=_config.PLACE, wanted="a dictionary with kind", got=repr(config))
    kind = config.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise BundleError("unknown kind", where=_config.PLACE, wanted=" or ".join(_KINDS), got=repr(kind))
    return _config.from_dict(_KINDS[kind], config)


def tail_of(config: Mapping[str, object], *, sometimes: bool = False) -> Tail | None:
    """What the preprocessor of that dictionary does to 8-bit pixels in the end; None where its input is made otherwise.

    Parameters
    ----------
    sometimes: also where it takes other samples too.

    Raises
    ------
    BundleError: as `build`.
    """
    made = build(config)
    return made.tail if isinstance(made, PixelPreprocessor) and (made.is_always_8_bit or sometimes) else None


def for_imagebind(modality: str) -> Preprocessor:
    """The preprocessor with ImageBind's constants; where none were published (IMU, part of depth), edgebind's own.

    Raises
    ------
    OptionError: there is no modality of that name.
    """
    return _KINDS[modalities.get(modality).name]()
