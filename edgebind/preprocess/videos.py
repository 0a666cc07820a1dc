"""Video files -> single frames, through PyAV, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind import extras
from edgebind.errors import MissingDependencyError, RecordingError

if TYPE_CHECKING:
    from types import ModuleType


def read_frame(path: Path, second: float | None = None) -> NDArray[np.uint8]:
    """uint8 (height, width, 3), RGB: the first frame at `second` or later; without `second` the one in the middle.

    The last frame, where the video ends before `second`.

    Raises
    ------
    RecordingError: no such file, no video in it, or damaged.
    MissingDependencyError: PyAV is not installed.
    """
    av = pyav()
    try:
        # The open file rather than its name: FFmpeg takes a name with a colon for a protocol.
        with path.open("rb") as file, av.open(file) as container:
            if not container.streams.video:
                raise RecordingError("holds no video", where=path, wanted="a stream of pictures")
            stream = container.streams.video[0]
            moment = _moment(container, stream, second)
            container.seek(moment, stream=stream)
            frame = _first_at(container.decode(stream), moment)
            if frame is None:
                raise RecordingError("a video without frames", where=path)
            pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
            return pixels
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordingError(f"is no video, or damaged: {reason}", where=path, wanted="MP4, Matroska, ...") from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error


def _moment(container: Any, stream: Any, second: float | None) -> int:
    """`second`, or half of the duration, in the stream's own unit of time."""
    start = stream.start_time or 0
    if second is not None:
        return start + round(second / stream.time_base)
    if stream.duration is not None:
        return start + int(stream.duration) // 2
    # Matroska and WebM tell the duration of the file alone, in microseconds.
    half = Fraction(container.duration or 0, 2 * 1_000_000)
    return start + int(half / stream.time_base)


def _first_at(frames: Iterator[Any], moment: int) -> Any:
    """The first frame at `moment` or later, of frames that begin at a key frame before it; or the last there is."""
    latest = None
    for frame in frames:
        latest = frame
        if frame.pts is not None and frame.pts >= moment:
            break
    return latest


def pyav() -> ModuleType:
    """`av`, or MissingDependencyError with the line that installs it."""
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "PyAV is not installed", wanted="it for videos", remedy=extras.remedy("audio")
        ) from error
    return av
