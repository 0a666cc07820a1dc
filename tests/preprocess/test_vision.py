from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebind import preprocess
from edgebind.errors import RecordingError
from edgebind.preprocess import images


def reference(path: Path) -> np.ndarray:
    """ImageBind's image transform, composed by hand with Pillow in float64."""
    picture = Image.open(path).convert("RGB")
    width, height = picture.size
    size = (224, int(224 * height / width)) if width <= height else (int(224 * width / height), 224)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    unit = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float64).transpose(2, 0, 1) / 255
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    return np.asarray((unit - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1)))


@pytest.mark.parametrize("name", ["dog_image.jpg", "car_image.jpg"])
def test_imagebind_pictures(shared: Path, name: str) -> None:
    path = shared / "data/imagebind_assets" / name
    output = preprocess.for_imagebind("vision")(images.read_image(path))
    assert output.shape == (3, 224, 224)
    np.testing.assert_allclose(output, reference(path), atol=1e-6)


def test_constants_by_hand() -> None:
    """Black, and each colour at 255, worked with a calculator."""
    black = preprocess.for_imagebind("vision")(np.zeros((224, 224, 3), np.uint8))
    np.testing.assert_allclose(black[:, 0, 0], [-1.7923, -1.7521, -1.4802], atol=1e-4)
    white = preprocess.for_imagebind("vision")(np.full((224, 224, 3), 255, np.uint8))
    np.testing.assert_allclose(white[:, 9, 9], [1.9303, 2.0749, 2.1459], atol=1e-4)


def test_grey_is_repeated_and_whole_floats_are_grey_levels() -> None:
    make = preprocess.for_imagebind("vision")
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    colour = make(np.repeat(grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(make(grey), colour)
    np.testing.assert_array_equal(make(grey.astype(np.float32)), colour)
    np.testing.assert_array_equal(make(grey[:, :, None]), colour)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.full((9, 9, 3), 0.5), "multiply [0, 1] by 255"),
        (np.full((9, 9, 3), -1.0), "whole grey levels"),
        (np.full((9, 9, 3), 300, np.uint16), "whole grey levels"),
        (np.full((9, 9, 3), np.nan), "NaN"),
        (np.zeros((3, 9, 9), np.uint8), "wanted (height, width, 3)"),
        (np.zeros((9, 9, 4), np.uint8), "wanted (height, width, 3)"),
        (np.zeros((0, 9, 3), np.uint8), "is empty"),
        (np.zeros(9, np.uint8), "wanted (height, width, 3)"),
    ],
)
def test_wrong_frames_get_one_line(frame: np.ndarray, says: str) -> None:
    with pytest.raises(RecordingError) as caught:
        preprocess.for_imagebind("vision")(frame)
    assert says in str(caught.value)
