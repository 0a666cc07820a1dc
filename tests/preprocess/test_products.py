"""Pillow's own resize against two products of matrices: equal, to the grey level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess import images
from edgebind.preprocess.products import halves, products, weights

SIDES = st.integers(16, 160)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(16, 100), st.sampled_from(images.RESIZES), st.integers(0, 2**32 - 1))
def test_frames_become_what_pillow_makes_of_them(height: int, width: int, size: int, how: str, seed: int) -> None:
    """Noise and black-and-white noise, whose sums go far beyond both ends, larger and smaller than the square."""
    made, rng = products(height, width, size, how), np.random.default_rng(seed)
    for most, step in ((256, 1), (2, 255)):
        frame = (rng.integers(0, most, (height, width)) * step).astype(np.uint8)
        np.testing.assert_array_equal(made(frame), images.resized(frame, size, how))


@pytest.mark.parametrize(("length", "target"), [(640, 298), (480, 224), (7, 7), (10, 33), (1000, 90)])
def test_a_weight_is_what_pillow_shows_of_a_single_bright_pixel(length: int, target: int) -> None:
    """Pillow resizes 32-bit floats with the same weights, not yet rounded to 22 bits."""
    found = weights(length, target)
    impulses = Image.fromarray(np.eye(length, dtype=np.float32))
    wanted = np.asarray(impulses.resize((target, length), Image.Resampling.BICUBIC)).T
    np.testing.assert_allclose(found / 2**22, wanted, atol=2**-22)
    upper, lower = halves(found)
    np.testing.assert_array_equal(upper * 2048 + lower, found)
    assert np.abs(lower).max() <= 1024


def test_every_sum_of_a_usual_camera_is_exact_in_float32() -> None:
    for height, width in ((480, 640), (512, 640), (720, 1280), (1080, 1920)):
        made = products(height, width, 224, "short-side")
        for half in (*halves(made.rows), *halves(made.columns)):
            assert np.abs(half).sum(axis=1).max() * 255 < 2**24


def test_what_cannot_be_exact_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"too large to be resized exactly \(got 700x700 to 16x16\)"):
        products(700, 700, 16, "squash")
    with pytest.raises(RecordingError, match="picture is a strip"):
        products(10, 2000, 16, "squash")
    monkeypatch.setattr(images, "resized", lambda picture, size, how: np.zeros((size, size), np.uint8))
    with pytest.raises(OptionError, match="the installed Pillow resizes in another way"):
        products(48, 64, 16, "squash")
