"""Resizing against Pillow composed by hand with torchvision's rules; reading against files made here."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgebind.errors import RecordingError
from edgebind.preprocess import images

RNG = np.random.default_rng(0)


def torchvision_way(picture: Image.Image, size: int) -> np.ndarray:
    """`Compose([Resize(size, BICUBIC), CenterCrop(size)])` of a PIL image, from torchvision's documentation."""
    width, height = picture.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    new_width, new_height = (new_short, new_long) if width <= height else (new_long, new_short)
    left, top = round((new_width - size) / 2.0), round((new_height - size) / 2.0)
    return np.asarray(
        picture.resize((new_width, new_height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([16, 64, 224]), st.booleans())
def test_short_side_equals_torchvision(height: int, width: int, size: int, colour: bool) -> None:
    if max(height, width) > images.MAX_ASPECT * min(height, width):
        return
    pixels = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = pixels if colour else pixels[:, :, 0]
    expected = torchvision_way(Image.fromarray(np.ascontiguousarray(pixels)), size)
    np.testing.assert_array_equal(images.resized(pixels, size), expected)


def test_float_pictures_resize_without_rounding() -> None:
    pixels = RNG.normal(25, 5, (120, 160)).astype(np.float32)
    expected = torchvision_way(Image.fromarray(pixels), 64)
    np.testing.assert_array_equal(images.resized(pixels, 64), expected)
    # A slope stays a slope in the middle, within the ripple of a bicubic kernel that is stretched by 2.5.
    plane = np.tile(np.arange(160, dtype=np.float32), (160, 1))
    steps = np.diff(images.resized(plane, 64)[32, 8:-8])
    np.testing.assert_allclose(steps, 160 / 64, rtol=1e-2)


def test_letterbox_keeps_everything_and_repeats_the_border() -> None:
    """40 x 20, size 8: a picture of 8 x 4 with two rows of border above and two below."""
    pixels = np.repeat(np.arange(20, dtype=np.float32)[:, None], 40, axis=1)
    square = images.resized(pixels, 8, "letterbox")
    inner = np.asarray(Image.fromarray(pixels).resize((8, 4), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(square, inner[[0, 0, 0, 1, 2, 3, 3, 3]])


def test_letterbox_of_a_thin_picture_keeps_one_pixel() -> None:
    assert images.resized(np.full((1, 60), 7, np.uint8), 16, "letterbox").tolist() == [[7] * 16] * 16


def test_squash_fills_the_square() -> None:
    pixels = RNG.integers(0, 256, (30, 90), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(images.resized(pixels, 32, "squash"), expected)


@pytest.mark.parametrize(
    ("shape", "small"), [((16, 24), (21, 32)), ((48, 48), (45, 45)), ((512, 640), (51, 64)), ((1, 1), (7, 7))]
)
def test_by_size_small_pictures_stay_small(shape: tuple[int, int], small: tuple[int, int]) -> None:
    """The examples of the docstring, and the smallest picture there is."""
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize(small[::-1], Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(images.by_size(pixels, 64, 96), expected)


def test_by_size_refuses_strips() -> None:
    with pytest.raises(RecordingError, match="strip"):
        images.by_size(np.zeros((1, 100_000), np.uint8), 224, 96)


def test_centred_is_surrounded_by_its_mean() -> None:
    picture = np.array([[1, 3], [5, 7], [0, 2]], np.float32)
    square = images.centred(picture, 5)
    np.testing.assert_array_equal(square[1:4, 1:3], picture)
    square[1:4, 1:3] = 3
    np.testing.assert_array_equal(square, np.full((5, 5), 3, np.float32))


@pytest.mark.parametrize("how", images.RESIZES)
@pytest.mark.parametrize("shape", [(3, 5), (7, 7), (50, 31), (64, 1), (100, 640, 3)])
def test_every_resize_gives_the_square(how: str, shape: tuple[int, ...]) -> None:
    assert images.resized(np.zeros(shape, np.uint8), 24, how).shape == (24, 24, *shape[2:])


def test_strips_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(RecordingError, match="strip"):
        images.resized(np.zeros((1, 100_000), np.uint8), 224)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_eight_bit_files_as_they_are(tmp_path: Path) -> None:
    grey, colour = RNG.integers(0, 256, (5, 7), dtype=np.uint8), RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for name, pixels in {"g.png": grey, "c.png": colour, "g.pgm": grey, "c.ppm": colour, "c.tiff": colour}.items():
        Image.fromarray(pixels).save(tmp_path / name)
        read = images.read_image(tmp_path / name)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, pixels)


def test_alpha_is_dropped_and_palettes_are_looked_up(tmp_path: Path) -> None:
    rgba = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), rgba[:, :, :3])
    Image.fromarray(rgba[:, :, :3]).quantize(4).save(tmp_path / "p.png")
    assert images.read_image(tmp_path / "p.png").shape == (5, 7, 3)
    Image.fromarray(rgba[:, :, 0] > 100).save(tmp_path / "b.png")
    assert set(np.unique(images.read_image(tmp_path / "b.png"))) == {0, 255}


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
def test_sixteen_bits_are_kept(tmp_path: Path, name: str) -> None:
    counts = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
    Image.fromarray(counts).save(tmp_path / name)
    read = images.read_image(tmp_path / name)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, counts)


def test_float_tiff_keeps_its_degrees(tmp_path: Path) -> None:
    celsius = RNG.normal(25, 5, (5, 7)).astype(np.float32)
    Image.fromarray(celsius).save(tmp_path / "t.tiff")
    np.testing.assert_array_equal(images.read_image(tmp_path / "t.tiff"), celsius)


@pytest.mark.parametrize("maximum", [256, 10_000, 65_535])
def test_sixteen_bit_pgm_is_never_stretched(tmp_path: Path, maximum: int) -> None:
    """Pillow would multiply a depth of 1000 mm by 6.5 when the header says that 10000 is the largest."""
    counts = np.array([[0, 1, 255], [256, maximum - 1, maximum]], np.uint16)
    data = b"P5\n# a comment\n3 2\n%d\n" % maximum + counts.astype(">u2").tobytes()
    (tmp_path / "d.pgm").write_bytes(data)
    (tmp_path / "d.pgm.gz").write_bytes(gzip.compress(data))
    for name in ("d.pgm", "d.pgm.gz"):
        np.testing.assert_array_equal(images.read_image(tmp_path / name), counts)


def test_real_depth_maps(shared: Path) -> None:
    packed = images.read_image(shared / "data/depth_rgbd/depth_1.pgm.gz")
    png = images.read_image(shared / "data/depth_rgbd/redwood_depth.png")
    assert packed.shape == png.shape == (480, 640)
    assert packed.dtype == png.dtype == np.uint16
    assert 500 < np.median(png[png > 0]) < 5000  # millimetres, of a room


def test_exif_orientation_turns_the_picture(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90° clockwise
    Image.fromarray(pixels).save(tmp_path / "o.png", exif=exif)
    turned = images.read_image(tmp_path / "o.png")
    assert turned.shape == (16, 8, 3)
    assert turned[:8].min() == 255
    assert turned[8:].max() == 0
    assert images.read_image(tmp_path / "o.png", upright=False).shape == (8, 16, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    empty = chunk(b"IHDR", size + bytes([8, 0, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + empty


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("text.png", b"not a picture", "is no picture"),
        ("empty.png", b"", "is no picture"),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
        ("cut.jpg", jpeg()[:700], "damaged or cut off"),
        ("bomb.png", png_header(60_000, 60_000), "too large"),
        ("warned.png", png_header(10_000, 10_000), "too large"),
        ("none.png", png_header(0, 5), ""),
        ("cut.pgm", b"P5 4 4 65535\n" + bytes(7), "wanted 32 bytes, got 7"),
        ("none.pgm", b"P5 0 4 65535\n", "no pixels"),
        ("bomb.pgm", b"P5 90000 90000 65535\n", "too large"),
        ("cut.pgm.gz", gzip.compress(b"P5 4 4 65535\n" + bytes(32))[:-9], "gzip file"),
        ("text.pgm.gz", b"P5 4 4 65535\n" + bytes(32), "gzip file"),
    ],
)
def test_broken_files_get_one_line(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(RecordingError) as caught:
        images.read_image(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gzip_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    (tmp_path / "b.pgm.gz").write_bytes(gzip.compress(bytes(10_000)))
    with pytest.raises(RecordingError, match="too large"):
        images.read_image(tmp_path / "b.pgm.gz")


def test_absent_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        images.read_image(tmp_path / "absent.png")
    with pytest.raises(RecordingError, match="cannot be read"):
        images.read_image(tmp_path)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_damage_never_escapes_as_another_error(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    path = tmp_path_factory.mktemp("damaged") / "x.png"
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[at % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        images.read_image(path)
    except RecordingError as error:
        assert "\n" not in str(error)


def test_grey_from_rgb_refuses_palettes() -> None:
    grey = np.repeat(RNG.integers(0, 256, (9, 9, 1), dtype=np.uint8), 3, axis=2)
    np.testing.assert_array_equal(images.grey_from_rgb(grey), grey[:, :, 0])
    ironbow = np.stack([np.full((9, 9), level, np.uint8) for level in (250, 120, 10)], axis=2)
    with pytest.raises(RecordingError, match="false colour"):
        images.grey_from_rgb(ironbow)
