"""Video files -> clips of a few frames, through PyAV, where it is installed.

    video    [=====================================================)
    clips    [--- 2 s ---)       [--- 2 s ---)       [--- 2 s ---)       evenly from the beginning to the end; one is in the middle
    frames   |           |       |           |       |           |       from a clip's beginning to its end; one is in its middle

A frame is what the screen shows at a moment: the latest that began at it or before, however unevenly frames follow each other.
ImageBind was judged on five clips of 2 s with two frames each, in three crops, whose vectors are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import extras
from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess import images

Frames = NDArray[np.uint8]

SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
MOST_FRAMES = 256
"""Of one video in memory: about a gigabyte at `ENOUGH`."""
ENOUGH = 448
"""A frame whose short side is at least twice as long is averaged by a whole factor: it shows twice the pixels of the largest tower."""
SEEK = Fraction(5)
"""Seconds: what lies nearer than this is decoded on the way, which costs less than going back to a key frame."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames stand for a video."""

    clips: int = 1
    """How many, evenly from the beginning to the end; one lies in the middle."""
    seconds: float = 2.0
    """Length of a clip; a shorter video is one clip, as often as clips are wanted."""
    frames: int = 2
    """Of a clip, evenly from its beginning to its end; one lies in its middle."""
    crops: int = 1
    """1: the whole frame, of which preprocessing keeps the centre. 3: squares at both ends and in the middle of its long side."""
    random: bool = False
    """Whether training sees a clip anywhere in the video, another each time; what is judged is seen as without it."""

    def __post_init__(self) -> None:
        for name in ("clips", "frames"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} of a video are too few", wanted="at least 1", got=getattr(self, name))
        if self.clips * self.frames > MOST_FRAMES:
            got = f"{self.clips} clips of {self.frames}"
            raise OptionError("too many frames of a video", wanted=f"at most {MOST_FRAMES}", got=got)
        if not 0 < self.seconds < float("inf"):
            raise OptionError("a clip of a video has no length", wanted="seconds above 0", got=self.seconds)
        if self.random and self.clips > 1:
            raise OptionError("a random clip of a video is one", wanted="clips = 1", got=self.clips)
        if self.crops not in (1, 3):
            raise OptionError("another number of crops of a video", wanted="1 or 3", got=self.crops)

    @property
    def is_still(self) -> bool:
        """Whether a video is seen as a single picture."""
        return self.clips == self.frames == self.crops == 1

    def moments(self, start: Fraction, stop: Fraction) -> list[list[Fraction]]:
        """Seconds of the frames of each clip in a video from `start` to `stop`.

        clips = 2, seconds = 2, frames = 2; 0 s to 10 s -> [[0, 2], [8, 10]]
        """
        length = min(_exact(self.seconds), stop - start)
        return [_evenly(first, first + length, self.frames) for first in _evenly(start, stop - length, self.clips)]


MIDDLE = Sampling(clips=1, frames=1)
"""The frame in the middle."""
PUBLISHED = Sampling(clips=5, seconds=2.0, frames=2, crops=3)
"""What ImageBind's authors publish for evaluation."""


@dataclass(frozen=True, slots=True)
class Video:
    """A stretch of a file, not yet read."""

    path: Path
    start: float | None = None
    """Seconds from the beginning; None is the beginning."""
    stop: float | None = None
    """None is the end; beyond it the last frame is seen again."""
    data: bytes | None = None
    """What the file holds, where it is no file: `path` is then its name in messages."""

    def anywhere(self, how: Sampling, rng: np.random.Generator, within: float = float("inf")) -> Video:
        """A stretch as long as a clip, at a random moment of the first `within` seconds.

        Raises
        ------
        RecordingError, MissingDependencyError: as `read`.
        """
        with _opened(self.path, self.data) as (container, stream):
            begin = _start_of(container, stream)
            length = min(float(_stop_of(container, stream, begin) - begin), within)
        start = rng.random() * max(0.0, length - how.seconds)
        return replace(self, start=start, stop=min(start + how.seconds, length))

    def read(self, how: Sampling) -> Frames:
        """uint8 (clips x crops, frames, height, width, 3), RGB, upright; the crops of a clip follow each other.

        Raises
        ------
        RecordingError: no such file, no video in it, or damaged.
        MissingDependencyError: PyAV is not installed.
        """
        with _opened(self.path, self.data) as (container, stream):
            begin = _start_of(container, stream)
            start = begin + _exact(self.start or 0)
            stop = _stop_of(container, stream, begin) if self.stop is None else begin + _exact(self.stop)
            moments = how.moments(start, max(start, stop))
            found = dict(_shown(container, stream, sorted({moment for clip in moments for moment in clip})))
        clips = np.stack([np.stack([found[moment] for moment in clip]) for clip in moments])
        return _cropped(clips, how.crops)


def read(path: Path, how: Sampling, data: bytes | None = None) -> Frames:
    """A whole video as `Video.read` gives it; as a picture (height, width, 3) where one frame is all that is asked for."""
    found = Video(path, data=data).read(how)
    return found[0, 0] if how.is_still else found


def each_frame(path: Path) -> Iterator[tuple[Fraction, Frames]]:
    """Every frame of a video, in turn: when it begins, in seconds from the first, and its pixels as `Video.read` has them.

    Raises
    ------
    RecordingError, MissingDependencyError: as `Video.read`; what came before was right.
    """
    with _opened(path, None) as (container, stream):
        stream.thread_type = "AUTO"
        begin: Fraction | None = None
        for frame in container.decode(stream):
            time = _time(frame)
            begin = time if begin is None else begin
            yield time - begin, _pixels(frame)


def is_read(sample: object) -> bool:
    """Whether a sample is what `Video.read` gives, rather than a picture."""
    return isinstance(sample, np.ndarray) and sample.ndim == 5


def inputs(samples: Sequence[Any], prepare: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
    """Samples -> model inputs: (batch, ...) of pictures and all else, (batch, clips, 3, frames, size, size) of videos.

    A picture among videos is a video that stands still.

    Parameters
    ----------
    prepare: one picture -> (3, size, size); whatever else a modality has -> its input.

    Raises
    ------
    RecordingError: videos of unequally many clips or frames.
    """
    if not any(is_read(sample) for sample in samples):
        return np.stack([prepare(sample) for sample in samples])
    found = [_video_input(sample, prepare) if is_read(sample) else prepare(sample) for sample in samples]
    shape = next(one.shape for one in found if one.ndim == 5)
    moving = [one if one.ndim == 5 else np.broadcast_to(one[None, :, None], shape) for one in found]
    if any(one.shape != shape for one in moving):
        got = " and ".join(sorted({f"{one.shape[0]} of {one.shape[2]}" for one in moving}))
        raise RecordingError("videos do not fit together", wanted="equally many clips and frames", got=got)
    return np.stack(moving)


def _video_input(clips: Frames, prepare: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
    """(clips, frames, height, width, 3) -> (clips, 3, frames, size, size)."""
    return np.stack([np.stack([prepare(frame) for frame in clip], axis=1) for clip in clips])


# --- which moments ----------------------------------------------------------------------------------------------------


def _exact(seconds: float) -> Fraction:
    """To the microsecond: 0.3 is three tenths."""
    return Fraction(round(seconds * 1_000_000), 1_000_000)


def _evenly(first: Fraction, last: Fraction, count: int) -> list[Fraction]:
    """`count` places from `first` to `last`, both included; one lies between them."""
    if count == 1:
        return [(first + last) / 2]
    return [first + (last - first) * at / (count - 1) for at in range(count)]


# --- which frames -----------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, data: bytes | None) -> Iterator[tuple[Any, Any]]:
    """A video's container and its first stream of pictures; what FFmpeg makes of it is one line."""
    av = extras.pyav("videos")
    try:
        # The open file rather than its name: FFmpeg takes a name with a colon for a protocol.
        with path.open("rb") if data is None else BytesIO(data) as file, av.open(file) as container:
            if not container.streams.video:
                raise RecordingError("holds no video", where=path, wanted="a stream of pictures")
            yield container, container.streams.video[0]
    except RecordingError as error:
        if error.where:
            raise
        raise error.at(path) from error
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordingError(f"is no video, or damaged: {reason}", where=path, wanted="MP4, Matroska, ...") from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error


def _start_of(container: Any, stream: Any) -> Fraction:
    """When the pictures begin, in seconds of the container's own clock."""
    if stream.start_time is not None:
        return Fraction(stream.start_time * stream.time_base)
    return Fraction(container.start_time or 0, 1_000_000)


def _stop_of(container: Any, stream: Any, start: Fraction) -> Fraction:
    """When they end: as the stream says, or the file (Matroska), or by its last packet where nothing does (a live WebM)."""
    if stream.duration is not None:
        return start + Fraction(stream.duration * stream.time_base)
    if container.duration is not None:
        return start + Fraction(container.duration, 1_000_000)
    ends = [packet.pts + (packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
    return Fraction(max(ends) * stream.time_base) if ends else start


def _shown(container: Any, stream: Any, moments: Sequence[Fraction]) -> Iterator[tuple[Fraction, Frames]]:
    """For each of the ascending `moments` what the screen shows then."""
    stream.thread_type = "AUTO"
    film: Iterator[Any] = iter(())
    latest: Any = None
    for moment in moments:
        tick = round(moment / stream.time_base)  # to the nearest: Matroska's own times are rounded
        if latest is None or moment - _time(latest) > SEEK:
            film, latest = _from(container, stream, tick), None
        latest, film = _advanced(film, latest, tick)
        if latest is None:
            raise RecordingError("a video without frames", wanted="at least one that can be decoded")
        yield moment, _pixels(latest)


def _from(container: Any, stream: Any, tick: int) -> Iterator[Any]:
    """Frames from the key frame before `tick` on; from the first where a file's index leads to a later one."""
    container.seek(tick, stream=stream)
    film = container.decode(stream)
    first = next(film, None)
    if first is None or _tick(first) > tick:
        container.seek(min(tick, stream.start_time or 0), stream=stream)
        return iter(container.decode(stream))
    return _before(first, film)


def _advanced(film: Iterator[Any], latest: Any, tick: int) -> tuple[Any, Iterator[Any]]:
    """The latest frame that began at `tick` or before, and what follows it; of frames that all begin later the first."""
    for frame in film:
        if latest is not None and _tick(frame) > tick:
            return latest, _before(frame, film)
        latest = frame
    return latest, film


def _before(first: Any, rest: Iterable[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _tick(frame: Any) -> int:
    """When a frame begins, in its stream's unit; a file without such times (AVI) has those of decoding."""
    begins = frame.pts if frame.pts is not None else frame.dts
    if begins is None:
        raise RecordingError("a frame has no time", wanted="a container that keeps times, such as MP4")
    return int(begins)


def _time(frame: Any) -> Fraction:
    return Fraction(_tick(frame) * frame.time_base)


# --- which pixels -----------------------------------------------------------------------------------------------------


def _pixels(frame: Any) -> Frames:
    """uint8 (height, width, 3), turned as a viewer would, and no larger than is of use."""
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90)  # degrees, counter-clockwise
    upright = np.rot90(pixels, turns)
    factor = min(upright.shape[:2]) // ENOUGH
    if factor < 2:
        return np.ascontiguousarray(upright)
    return np.asarray(images.pillow().fromarray(np.ascontiguousarray(upright)).reduce(factor))


def _cropped(clips: Frames, crops: int) -> Frames:
    """(clips, frames, height, width, 3) -> (clips x crops, ...): for three the squares along the long side, in turn."""
    if crops == 1:
        return clips
    height, width = clips.shape[2:4]
    side = min(height, width)
    spare = max(height, width) - side
    axis = 3 if width >= height else 2
    squares = [clips.take(range(at, at + side), axis=axis) for at in (0, -(-spare // 2), spare)]
    return np.stack(squares, axis=1).reshape(-1, *squares[0].shape[1:])
