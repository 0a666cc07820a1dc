"""Pictures: reading them, and resizing them as Pillow (and so torchvision on a PIL image) does.

ImageBind was trained on `Resize(224, BICUBIC)` and `CenterCrop(224)` of PIL images. Pillow's bicubic (a = -0.5) widens
its kernel when it shrinks; OpenCV's does not and shows a tower edges that it has never seen. So Pillow does the work
here: 8-bit pictures in its 8-bit mode (rounding included, to the grey level), everything else in 32-bit float.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import MissingDependencyError, RecordingError

if TYPE_CHECKING:
    from types import ModuleType

    from PIL.Image import Image as Picture

Array = NDArray[Any]

RESIZES = ("short-side", "letterbox", "squash")

MAX_PIXELS = 64 * 1024 * 1024
"""More is no frame of a sensor, but a file made to fill the memory."""

MAX_BYTES = 16 * MAX_PIXELS
"""Of an unpacked file: the largest picture at four channels of 32 bits."""

MAX_ASPECT = 64
"""Longest side over shortest: beyond it the resized strip, of which the crop keeps 224 pixels, fills the memory."""

# No PostScript or PDF: Pillow would start Ghostscript for them.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")

# What Pillow's decoders let through for damaged files, besides OSError and its own bomb error and warning.
_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error, zlib.error)


def pillow() -> ModuleType:
    """`PIL.Image`, or MissingDependencyError with the line that installs it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("Pillow is not installed", remedy="pip install pillow") from error
    return Image


# --- geometry ---------------------------------------------------------------------------------------------------------


def resized(picture: Array, size: int, how: str = "short-side") -> Array:
    """`picture` (h, w) or (h, w, 3) as a square of `size`: uint8 stays uint8, everything else becomes float32.

    short-side: the short side becomes `size`, the centre is cut out; what lies outside the square is lost.
    letterbox: the long side becomes `size`; the rest repeats the border, so that no artificial edge appears.
    squash: both sides become `size`; nothing is lost, shapes are stretched.

    Raises
    ------
    RecordingError: the picture is a strip, longer than 64 times its width.
    """
    height, width = _sides(picture)
    if how == "squash":
        return _bicubic(picture, size, size)
    if how == "letterbox":
        return _pad_border(_bicubic(picture, *fit_long(height, width, size)), size)
    return _centre(_bicubic(picture, *fit_short(height, width, size)), size)


def by_size(picture: Array, size: int, full: float) -> Array:
    """`picture` at a size that tells how large it was: a long side of `full` pixels or more becomes `size`, a shorter
    one `size` times the root of its share. Not square: see `centred`.

        full = 96, size = 64      24 x 16 -> 32 x 21      48 x 48 -> 45 x 45      640 x 512 -> 64 x 51

    The root, because things differ more in size than a square has room for. Types and errors are those of `resized`.
    """
    height, width = _sides(picture)
    longest = max(1, round(size * min(1.0, max(height, width) / full) ** 0.5))
    return _bicubic(picture, *fit_long(height, width, longest))


def centred(picture: Array, size: int) -> Array:
    """`picture` (h, w), neither side longer than `size`, in the middle of a square of its own mean."""
    if picture.shape == (size, size):
        return picture
    square = np.full((size, size), picture.mean(), picture.dtype)
    height, width = picture.shape
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = picture
    return square


def _sides(picture: Array) -> tuple[int, int]:
    """Height and width of what is no strip."""
    height, width = picture.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise RecordingError(
            "picture is a strip", wanted=f"sides within a ratio of {MAX_ASPECT}", got=f"{width} x {height} pixels"
        )
    return height, width


def fit_short(height: int, width: int, size: int) -> tuple[int, int]:
    """torchvision's rule: the long side is rounded down."""
    if width <= height:
        return int(size * height / width), size
    return size, int(size * width / height)


def fit_long(height: int, width: int, size: int) -> tuple[int, int]:
    """The short side rounded to the nearest, and never nothing."""
    longest = max(height, width)
    return max(1, round(size * height / longest)), max(1, round(size * width / longest))


def _centre(picture: Array, size: int) -> Array:
    """torchvision's rule: offsets rounded half to even."""
    top = round((picture.shape[0] - size) / 2.0)
    left = round((picture.shape[1] - size) / 2.0)
    return picture[top : top + size, left : left + size]


def _pad_border(picture: Array, size: int) -> Array:
    lack = [size - side for side in picture.shape[:2]]
    widths = [(side // 2, side - side // 2) for side in lack] + [(0, 0)] * (picture.ndim - 2)
    return np.pad(picture, widths, mode="edge")


def _bicubic(picture: Array, height: int, width: int) -> Array:
    image = pillow()
    keeps = picture.dtype == np.uint8
    source = image.fromarray(np.ascontiguousarray(picture if keeps else picture.astype(np.float32, copy=False)))
    return np.asarray(source.resize((width, height), image.Resampling.BICUBIC))


# --- files ------------------------------------------------------------------------------------------------------------


def read_image(path: str | PathLike[str], *, upright: bool = True) -> Array:
    """The picture in the file at `path`, as it was measured.

    Returns
    -------
    uint8 (h, w) or (h, w, 3) for 8-bit files (palettes are looked up, alpha is dropped); uint16 (h, w) for 16-bit PNG,
    PGM and TIFF, never rescaled; float32 (h, w) for float TIFF. PNG, JPEG, TIFF, BMP, WebP, PGM/PPM; also gzipped.

    Parameters
    ----------
    upright: turn the picture as its EXIF orientation says, as a viewer would.

    Raises
    ------
    RecordingError: no such file, no picture, cut off, without pixels, or larger than 64 Mi pixels.
    """
    return decode_image(_read_bytes(Path(path)), path, upright=upright)


def decode_image(data: bytes, path: str | PathLike[str], *, upright: bool = True) -> Array:
    """The picture in the bytes of a file, which messages call `path`; otherwise as `read_image`."""
    measured = _sixteen_bit_pgm(data, path)
    if measured is not None:
        return measured
    image = pillow()
    try:
        with image.open(BytesIO(data), formats=_FORMATS) as picture:
            _refuse_size(picture.size, path)
            return _pixels(_turned(picture) if upright else picture, path)
    except (image.DecompressionBombError, image.DecompressionBombWarning) as error:
        raise _too_large("more, by its header", path) from error
    except image.UnidentifiedImageError as error:
        raise RecordingError("is no picture", where=path, wanted="PNG, JPEG, TIFF, BMP, WebP or PGM") from error
    except _DAMAGE as error:
        raise RecordingError(f"picture is damaged or cut off: {error}", where=path) from error


def _read_bytes(path: Path) -> bytes:
    try:
        if path.suffix.lower() != ".gz":
            return path.read_bytes()
        with gzip.open(path) as packed:
            data = packed.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(f"gzip file is damaged or cut off: {error}", where=path) from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", where=path) from error
    if len(data) > MAX_BYTES:
        raise _too_large(f"more than {MAX_BYTES >> 20} MiB", path)
    return data


_PGM = re.compile(rb"P5(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")


def _sixteen_bit_pgm(data: bytes, path: str | PathLike[str]) -> Array | None:
    """uint16 (h, w) of a binary PGM with more than 256 levels (netpbm: big-endian); None for any other file.

    Pillow stretches such values to 0..65535 when the header names a smaller maximum; a depth in mm would change.
    """
    header = _PGM.match(data[:1024])
    if header is None or not 255 < int(header[3]) < 65536:
        return None
    width, height = int(header[1]), int(header[2])
    _refuse_size((width, height), path)
    body = data[header.end() : header.end() + 2 * width * height]
    if len(body) < 2 * width * height:
        raise RecordingError("picture is cut off", where=path, wanted=f"{2 * width * height} bytes", got=len(body))
    return np.frombuffer(body, ">u2").reshape(height, width).astype(np.uint16)


def _refuse_size(size: tuple[int, int], path: str | PathLike[str]) -> None:
    if min(size) < 1:
        raise RecordingError("picture has no pixels", where=path, got=f"{size[0]} x {size[1]}")
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(f"{size[0]} x {size[1]}", path)


def _too_large(got: str, path: str | PathLike[str]) -> RecordingError:
    return RecordingError("picture is too large", where=path, wanted=f"at most {MAX_PIXELS} pixels", got=got)


def _turned(picture: Picture) -> Picture:
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def _pixels(picture: Picture, path: str | PathLike[str]) -> Array:
    """The values of `picture`, with the bit depth that the file has."""
    if picture.mode in _SIXTEEN_BIT:
        return _as_uint16(np.asarray(picture), path)
    if picture.mode in ("L", "RGB", "F"):
        return np.array(picture)
    grey = picture.mode in ("1", "LA", "La")
    return np.array(picture.convert("L" if grey else "RGB"))


def _as_uint16(values: Array, path: str | PathLike[str]) -> Array:
    if values.min() < 0 or values.max() > 65535:
        raise RecordingError("picture has other values", where=path, wanted="0 to 65535", got=int(values.max()))
    return values.astype(np.uint16)


# --- grey -------------------------------------------------------------------------------------------------------------

MAX_COLOUR = 4.0
"""Mean distance of the channels, grey levels: JPEG's colour noise on a grey picture stays far below."""


def grey_from_rgb(picture: Array) -> Array:
    """(h, w) of a grey picture that was stored with three channels; ITU-R 601 luma, as Pillow's `convert("L")`.

    Raises
    ------
    RecordingError: the picture is coloured. A thermal picture through a palette has no order of temperatures left.
    """
    # Every fourth pixel each way is plenty to tell a palette from grey.
    sparse = picture[::4, ::4].astype(np.int16)
    colour = float((sparse.max(axis=2) - sparse.min(axis=2)).mean())
    if colour > MAX_COLOUR:
        raise RecordingError(
            "picture is in false colour",
            wanted="grey levels or temperatures",
            got=f"channels that differ by {colour:.0f} levels on average",
            remedy="record the camera's raw or white-hot stream",
        )
    return np.asarray(pillow().fromarray(np.ascontiguousarray(picture)).convert("L"))
