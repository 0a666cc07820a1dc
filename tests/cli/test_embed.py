"""`edgebind embed`: many recordings, one file, or nothing."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import wavfile

from edgebind import bundle as bundles
from edgebind import cli
from edgebind.errors import EdgebindError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.preprocess.audio import read_wave, resample_windowed_sinc
from tests import bundles as tiny
from tests.recordings import csv, stamps, still


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "imu")


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    window = WindowSpec(8.0, 0.125, 0.125, ("intensity",), ("grey level",))
    manifest = replace(tiny.IMU, modality="thermal", window=window, preprocess={"kind": "thermal", "size": 8})
    bundles.write(tmp_path / "thermal", manifest, {bundles.ENCODER: tiny.encoder((1, 8, 8))})
    return tmp_path / "thermal"


def embed(*arguments: object) -> str:
    result = CliRunner().invoke(cli.group, ["embed", *map(str, arguments)])
    if isinstance(result.exception, EdgebindError):
        raise result.exception
    assert result.exception is None, result.output
    return result.stderr


def test_one_recording_is_not_several(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text(csv(1000))
    assert "wrote 19 embeddings of 1 recording to" in embed("--bundle", folder, table, "--out", tmp_path / "out.npz")


def test_in_a_terminal_a_fault_takes_the_place_of_the_line_that_told_how_far_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(csv(1000))
    bad.write_text("nothing that is a table")
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    assert cli.main(["embed", "--bundle", str(folder), str(good), str(bad), "--out", str(tmp_path / "out.npz")]) == 2
    _, *lines = shown.getvalue().split("\r\x1b[K")
    assert lines[0] == f"1 of 2, 0 embeddings: {good}"[:96]
    assert lines[-1].startswith(f"edgebind: {bad}: ") and lines[-1].endswith("\n")


def test_recordings_of_every_kind(folder: Path, tmp_path: Path) -> None:
    table, arrays, out = tmp_path / "a.csv", tmp_path / "b.npz", tmp_path / "out.npz"
    table.write_text(csv(1000))
    np.savez(arrays, times=stamps(1000), samples=still(1000))
    told = embed("--bundle", folder, table, arrays, "--out", out)
    assert f"wrote 38 embeddings of 2 recordings to {out}" in told
    with np.load(out) as found:
        assert sorted(found) == ["embeddings", "source", "start_ns", "stop_ns"]
        assert found["embeddings"].shape == (38, tiny.DIM) and found["embeddings"].dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found["embeddings"], axis=1), 1, atol=1e-5)
        assert found["start_ns"].dtype == found["stop_ns"].dtype == np.int64
        assert found["start_ns"].tolist() == [at * 500_000_000 for at in range(19)] * 2
        assert found["source"].tolist() == [str(table)] * 19 + [str(arrays)] * 19
        np.testing.assert_allclose(found["embeddings"][:19], found["embeddings"][19:], atol=1e-4)


def test_it_agrees_with_the_bundle_itself(folder: Path, tmp_path: Path) -> None:
    out, samples = tmp_path / "out.npz", still(100).astype(np.float32)
    np.savez(tmp_path / "a.npz", times=stamps(100, 10.0), samples=samples)
    embed("--bundle", folder, tmp_path / "a.npz", "--out", out)
    with bundles.load(folder) as bundle, np.load(out) as found:
        expected = bundle.embed([samples[at : at + 10].T for at in range(0, 91, 5)])
        np.testing.assert_allclose(found["embeddings"], expected, atol=1e-5)


def test_pictures(camera: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in (10, 9):
        values = np.random.default_rng(number).integers(1, 255, (10, 12), np.uint8)
        Image.fromarray(values).save(pictures / f"{number}.png")
    out = tmp_path / "out.npz"
    embed("--bundle", camera, pictures, pictures / "9.png", "--out", out)
    with np.load(out) as found:
        assert found["source"].tolist() == [str(pictures / name) for name in ("9.png", "10.png", "9.png")]
        assert found["start_ns"].tolist() == [0, 125_000_000, 0]
        assert found["stop_ns"].tolist() == [125_000_000, 250_000_000, 125_000_000]
        np.testing.assert_array_equal(found["embeddings"][0], found["embeddings"][2])


def test_depth_in_millimetres(shared: Path, tmp_path: Path) -> None:
    window = WindowSpec(30.0, 1 / 30, 1 / 30, ("distance",), ("m",))
    manifest = replace(tiny.IMU, modality="depth", window=window, preprocess={"kind": "depth", "size": 8})
    bundles.write(tmp_path / "depth", manifest, {bundles.ENCODER: tiny.encoder((1, 8, 8))})
    path, out = shared / "data" / "depth_rgbd" / "redwood_depth.png", tmp_path / "out.npz"
    embed("--bundle", tmp_path / "depth", path, "--units", "depth=mm", "--out", out)
    with Image.open(path) as picture, np.load(out) as found, bundles.load(tmp_path / "depth") as bundle:
        metres = (np.asarray(picture) / 1000).astype(np.float32)
        np.testing.assert_allclose(found["embeddings"], bundle.embed([metres]), atol=1e-5)
    with pytest.raises(RecordingError, match=r"redwood_depth\.png: depth frame has another dtype.*--units depth=mm"):
        embed("--bundle", tmp_path / "depth", path, "--out", out)


@pytest.fixture
def listener(tmp_path: Path) -> Path:
    return tiny.write_listener(tmp_path / "audio")


def test_sounds(listener: Path, shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    paths = [sorted((shared / "data" / "audio_esc10" / kind).glob("*.ogg"))[0] for kind in ("Rain", "Rooster")]
    out = tmp_path / "out.npz"
    embed("--bundle", listener, *paths, "--out", out)
    with np.load(out) as found, bundles.load(listener) as bundle:
        assert found["source"].tolist() == [str(path) for path in paths for _ in range(len(found["source"]) // 2)]
        assert found["start_ns"][:4].tolist() == [0, 1_000_000_000, 2_000_000_000, 3_000_000_000]
        assert (found["stop_ns"] - found["start_ns"] == 2_000_000_000).all()
        wave = resample_windowed_sinc(*read_wave(paths[0]), 16000)
        expected = bundle.embed([wave[:, at * 16000 : (at + 2) * 16000] for at in range(4)])
        np.testing.assert_allclose(found["embeddings"][:4], expected, atol=1e-6)


def test_a_sound_shorter_than_a_window(listener: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    wavfile.write(tmp_path / "bark.wav", 16000, samples)
    embed("--bundle", listener, tmp_path / "bark.wav", "--out", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found, bundles.load(listener) as bundle:
        np.testing.assert_allclose(found["embeddings"], bundle.embed([samples[None]]), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [(np.zeros(200, np.float32), "too short"), (np.full(40000, 100.0, np.float32), "not at full scale")],
)
def test_a_sound_that_cannot_be_heard_names_its_file(
    listener: Path, tmp_path: Path, samples: np.ndarray, expected: str
) -> None:
    wavfile.write(tmp_path / "x.wav", 16000, samples)
    with pytest.raises(RecordingError, match=rf"x\.wav: sound .*{expected}"):
        embed("--bundle", listener, tmp_path / "x.wav", "--out", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_prompts(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("instant_clip_tokenizer")
    pytest.importorskip("ftfy")
    expected = json.loads((shared / "parity" / "tokens.json").read_text())
    prompts, ids = list(expected), np.array(list(expected.values()), np.float32)
    window = WindowSpec(1.0, 1.0, 1.0, ("token",), ("id",))
    manifest = replace(tiny.IMU, modality="text", window=window, preprocess={"kind": "text"})
    bundles.write(tmp_path / "text", manifest, {bundles.ENCODER: tiny.encoder((77,), whole=True)})
    path, out = tmp_path / "prompts.txt", tmp_path / "out.npz"
    path.write_text("\n\n".join(prompts) + "\n", encoding="utf-8")
    embed("--bundle", tmp_path / "text", path, "--out", out)
    with np.load(out) as found:
        np.testing.assert_allclose(
            found["embeddings"], ids[:, :4] / np.linalg.norm(ids[:, :4], axis=1, keepdims=True), atol=1e-6
        )
        assert found["start_ns"].tolist() == [2_000_000_000 * place for place in range(len(prompts))]
        assert found["source"].tolist() == [str(path)] * len(prompts)


@pytest.mark.parametrize("text", ["time,ax\n0,1\n", csv(50), csv().replace("9.8", "x", 1)])
def test_a_bad_input_leaves_nothing(folder: Path, tmp_path: Path, text: str) -> None:
    good, bad, out = tmp_path / "good.csv", tmp_path / "bad.csv", tmp_path / "out.npz"
    good.write_text(csv())
    bad.write_text(text)
    with pytest.raises(RecordingError, match=r"bad\.csv"):
        embed("--bundle", folder, good, bad, "--out", out)
    assert not list(tmp_path.glob("*out*"))


def test_a_recording_full_of_gaps_is_refused(folder: Path, tmp_path: Path) -> None:
    keep = np.r_[0:20, 300:320, 600:620]
    np.savez(tmp_path / "gaps.npz", times=stamps(620)[keep], samples=still(620)[keep])
    with pytest.raises(RecordingError, match="no window has enough samples"):
        embed("--bundle", folder, tmp_path / "gaps.npz", "--out", tmp_path / "out.npz")


def test_an_image_that_is_no_image(camera: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(RecordingError, match=r"x\.png: is no picture"):
        embed("--bundle", camera, tmp_path / "x.png", "--out", tmp_path / "out.npz")


def test_units_are_obeyed(folder: Path, tmp_path: Path) -> None:
    for name, samples in (("si", still(400)), ("g", still(400) / np.repeat((9.80665, 1), 3))):
        (tmp_path / f"{name}.csv").write_text(csv(samples=samples))
    embed("--bundle", folder, tmp_path / "si.csv", "--out", tmp_path / "si.npz")
    embed("--bundle", folder, tmp_path / "g.csv", "--units", "acc=g", "--out", tmp_path / "g.npz")
    with np.load(tmp_path / "si.npz") as one, np.load(tmp_path / "g.npz") as other:
        np.testing.assert_allclose(one["embeddings"], other["embeddings"], atol=1e-3)
