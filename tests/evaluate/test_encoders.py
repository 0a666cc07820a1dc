"""One face for bundles, towers and checkpoints: the same vectors as the model gives by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgebind
from edgebind import preprocess, starter
from edgebind.errors import BundleError, OptionError, RecordingError
from edgebind.evaluate import encoder as encoder_module
from edgebind.evaluate import encoders
from edgebind.evaluate.encoder import views
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.signals import Chunk, Floats, Window
from tests import bundles, recordings

SPEC = bundles.IMU.window  # 10 Hz, 1 s, a window every 0.5 s


def _windows(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, 6, 10)).astype(np.float32)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return bundles.write(tmp_path / "imu-tiny")


def test_a_bundle_gives_its_own_vectors(tiny: Path) -> None:
    windows = _windows(70)
    with encoders.open_encoder(tiny) as opened, edgebind.load(tiny) as bundle:
        assert (opened.name, opened.space, opened.modality, opened.dim) == ("imu-tiny", "test", "imu", 4)
        assert (opened.precision, opened.runtime, opened.logit_scale) == ("fp32", "onnxruntime", 10.0)
        assert opened.bank.prompts == ("a", "b")
        seen: list[tuple[int, int]] = []
        samples = [Window(0, 1, samples) for samples in windows]
        found = opened.embed(samples, batch=32, progress=lambda done, items: seen.append((done, items)))
        np.testing.assert_allclose(found, bundle.embed(windows), atol=1e-6)
    assert seen == [(32, 70), (64, 70), (70, 70)]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_long_signal_is_the_mean_of_its_windows(tiny: Path) -> None:
    times, samples = recordings.stamps(40, rate_hz=10.0), np.random.default_rng(0).normal(size=(40, 6))
    chunk = Chunk(times, samples.astype(np.float32), origin="walk")
    cut = views(chunk, "imu", SPEC)
    assert len(cut) == 7  # 4 s, windows of 1 s every 0.5 s
    with encoders.open_encoder(tiny) as opened:
        each = opened.embed([Window(0, 1, window) for window in cut])
        mean = each.mean(axis=0)
        np.testing.assert_allclose(opened.embed([chunk])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_an_array_of_an_imu_lies_on_the_published_grid() -> None:
    of_imagebind = WindowSpec.of_imagebind("imu")
    signal = np.tile(np.arange(2000, dtype=np.float32) / 400, (6, 1))  # value = seconds
    (whole,) = views(signal, "imu", of_imagebind)
    np.testing.assert_array_equal(whole, signal)
    slower = views(signal, "imu", replace(of_imagebind, rate_hz=100.0, seconds=2.0, hop_seconds=1.0))
    assert [window.shape for window in slower] == [(6, 200)] * 4
    np.testing.assert_allclose(slower[1][0, ::100], [1.0, 2.0], atol=0.02)


def test_a_signal_without_a_whole_window_is_one_clear_line() -> None:
    short = Chunk(recordings.stamps(5, rate_hz=10.0), np.zeros((5, 6), np.float32), origin="walk 3")
    with pytest.raises(RecordingError, match=r"walk 3: a signal without a whole window \(wanted 1 s, got 0\.40 s\)"):
        views(short, "imu", SPEC)


def test_frames_sounds_and_words_are_one_input_each() -> None:
    for sample in (np.zeros((4, 5), np.uint8), np.zeros((1, 16000), np.float32), "a dog"):
        assert views(sample, "thermal", WindowSpec.of_imagebind("thermal")) == [sample]


def test_a_tower_file_gives_what_its_network_gives(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from edgebind.models import students, tower_file

    with edgebind.load(starter.folder("thermal", "fp32")) as bundle:
        of = bundle.manifest
    torch.manual_seed(0)
    module = students.build("thermal-xs", dim=of.dim).eval()
    info = tower_file.TowerInfo(
        "mine", "thermal", "thermal-xs", of.dim, 20.0, of.window, {"kind": "thermal", "size": 64}
    )
    tower_file.write(tmp_path / "run" / "tower.safetensors", module, info, LabelBank.empty(of.dim))
    frames = list(np.random.default_rng(0).integers(0, 256, (5, 30, 40), dtype=np.uint8))
    opened = encoders.open_encoder(tmp_path / "run" / "tower.safetensors")
    assert (opened.name, opened.space, opened.runtime, opened.logit_scale) == ("run", "mine", "torch", 20.0)
    prepare = preprocess.build(info.preprocess)
    with torch.inference_mode():
        wanted = module(torch.from_numpy(np.stack([prepare(frame) for frame in frames]))).numpy()
    np.testing.assert_allclose(opened.embed(frames, batch=2), wanted, atol=1e-5)


def test_towers_of_a_checkpoint_are_opened_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from edgebind.models import checkpoint, imagebind

    torch.manual_seed(0)
    small = {name: replace(size, width=16, depth=1, heads=2) for name, size in imagebind.ARCHITECTURES.items()}
    monkeypatch.setattr(imagebind, "ARCHITECTURES", small)
    towers = {name: imagebind.build_tower(name, architecture=small[name]).eval() for name in ("imu", "depth")}
    path = tmp_path / "mine.safetensors"
    checkpoint.save_towers(path, towers, licence=None)
    assert encoders.modalities_of(path) == ("depth", "imu")
    depth = encoders.open_encoder(path, "depth")
    assert (depth.name, depth.space, depth.dim, depth.runtime) == ("mine", "imagebind", 1024, "torch")
    metres = np.random.default_rng(0).uniform(1, 5, (30, 40)).astype(np.float32)
    with torch.inference_mode():
        wanted = towers["depth"](torch.from_numpy(preprocess.for_imagebind("depth")(metres)[None])).numpy()
    np.testing.assert_allclose(depth.embed([metres]), wanted, atol=1e-5)
    assert depth.digest != encoders.open_encoder(path, "imu").digest
    with pytest.raises(OptionError, match=r"embeds something else \(wanted depth or imu, got audio\)"):
        encoders.open_encoder(path, "audio")
    with pytest.raises(OptionError, match="got several"):
        encoders.open_encoder(path)


def test_a_digest_changes_with_the_weights(tmp_path: Path) -> None:
    other = np.eye(60, 4, dtype=np.float32)[::-1].copy()
    one = bundles.write(tmp_path / "one")
    two = tmp_path / "two"
    edgebind.bundle.write(two, bundles.IMU, {"encoder.onnx": bundles.encoder(weights=other)})
    digests = [encoders.open_encoder(folder).digest for folder in (one, one, two)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_what_is_no_model_is_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="no model here") as caught:
        encoders.open_encoder(tmp_path / name)
    assert "imagebind_huge.pth" in str(caught.value)


def test_a_damaged_bundle_is_refused(tiny: Path) -> None:
    (tiny / "encoder.onnx").write_bytes(b"something else")
    with pytest.raises(BundleError, match="was altered"):
        encoders.open_encoder(tiny)


def test_the_starters_sentence_encoder_speaks_for_its_space() -> None:
    pytest.importorskip("sentence_transformers")
    words = encoders.open_sentences()
    with edgebind.load(starter.folder("imu", "fp32")) as bundle:
        bank = bundle.labels
    assert (words.space, words.dim, words.modality) == ("starter", 384, "text")
    np.testing.assert_allclose(words.embed(bank.prompts), bank.embeddings, atol=1e-4)


def test_a_row_of_zeros_stays_what_it_is() -> None:
    np.testing.assert_array_equal(encoder_module.unit_rows(np.zeros((1, 3), np.float32)), [[0, 0, 0]])
