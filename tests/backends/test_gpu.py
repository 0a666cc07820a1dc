"""On a real GPU: the same vectors as ONNX Runtime's on the CPU, engines side by side, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebind import backends, bundle, starter
from edgebind.backends.base import Backend
from edgebind.benchmarks import contestants, device_memory
from edgebind.engines import Options, Profile
from edgebind.export import engine
from tests import bundles

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(bool(backends.why_no_tensorrt()), reason=backends.why_no_tensorrt()),
]
BUNDLES = [(modality, precision) for modality in starter.MODALITIES for precision in starter.PRECISIONS]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEBIND_CACHE", str(tmp_path))
    return tmp_path


def _open(modality: str, precision: str) -> Backend:
    folder = starter.folder(modality, precision)
    return backends.open_backend("tensorrt", folder, bundle.verify(folder), say=lambda line: None)


@pytest.mark.parametrize(("modality", "precision"), BUNDLES)
def test_vectors_are_the_cpus(modality: str, precision: str, cache: Path) -> None:
    with contestants.opened([starter.folder(modality, precision)], ["onnxruntime"], None) as (one,):
        windows = np.concatenate([one.feed(1)[one.opened.backend.input_name]] * 37)
        windows = (windows + np.random.default_rng(2).normal(0, 0.1, windows.shape)).astype(windows.dtype)
        wanted = one.opened.backend.infer_unchecked(windows)
    with _open(modality, precision) as backend:
        for count in (1, 1, 5, 16, 37, 1, 37):
            found = backend.infer({backend.input_name: windows[:count]})[backend.output_name]
            assert (found * wanted[:count]).sum(axis=1).min() > (0.999 if precision == "fp32" else 0.98)


def test_pixels_give_the_vectors_of_floats(cache: Path, tmp_path: Path) -> None:
    folder = bundles.write_seer(tmp_path / "b", 224)
    pictures = list(np.random.default_rng(0).integers(0, 256, (37, 240, 320, 3), np.uint8))
    with bundle.load(folder, backend="tensorrt-floats") as floats, bundle.load(folder, backend="tensorrt") as pixels:
        assert (floats.backend.takes_pixels, pixels.backend.takes_pixels) == (False, True)
        for count in (1, 1, 5, 16, 37):
            np.testing.assert_allclose(pixels.embed(pictures[:count]), floats.embed(pictures[:count]), atol=1e-5)


def test_frames_are_resized_as_pillow_does(cache: Path, tmp_path: Path) -> None:
    folder = bundles.write_seer(tmp_path / "b", 224)
    frames = list(np.random.default_rng(0).integers(0, 256, (21, 240, 320, 3), np.uint8))
    site = engine.here()
    engine.build(folder, site, profiles=(Profile(1, 1, 16),), options=Options(), frame=(240, 320))
    with bundle.load(folder, backend="tensorrt-floats") as floats, bundle.load(folder, backend="tensorrt") as whole:
        assert whole.backend.frame == (240, 320)
        for count in (1, 1, 16, 21):
            np.testing.assert_allclose(whole.embed(frames[:count]), floats.embed(frames[:count]), atol=1e-5)


def test_engines_share_a_gpu_and_give_its_memory_back(cache: Path) -> None:
    for modality, precision in BUNDLES:
        _open(modality, precision).close()  # builds what is missing
    before = device_memory.free_mb()
    opened = [_open(modality, precision) for modality, precision in BUNDLES]
    for one in opened:
        one.close()
    after = device_memory.free_mb()
    assert before is not None and after is not None
    assert after > before - 64
