"""The starter space as it ships: whole, small, what its recipes say, and right about what it was taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgebind
from edgebind import sources, starter
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.bundle import Bundle
from edgebind.calibration import emulation
from edgebind.drift import Detector
from edgebind.signals import Floats
from edgebind.stream import embed_recording

BUNDLES = [(modality, precision) for modality in starter.MODALITIES for precision in starter.PRECISIONS]


def _embed(bundle: Bundle, path: Path) -> tuple[Floats, np.ndarray]:
    """Vectors and the times at the windows' centres."""
    wanted = sources.Wanted(bundle.manifest.modality, bundle.manifest.window)
    with sources.open_source(f"file:{path}", wanted) as source:
        found = list(embed_recording(bundle, source))
    return np.stack([e.vector for e in found]), np.array([(e.start_ns + e.stop_ns) // 2 for e in found])


def _gate(modality: str, bundle: Bundle) -> Floats:
    return np.concatenate([_embed(bundle, path)[0] for path in starter.recordings("gate", modality)])


@pytest.mark.parametrize(("modality", "precision"), BUNDLES)
def test_a_bundle_is_what_it_says(modality: str, precision: str) -> None:
    with edgebind.load(starter.folder(modality, precision)) as bundle:
        of = bundle.manifest
        assert (of.space, of.modality, of.precision, of.dim) == ("starter", modality, precision, 384)
        vectors = _gate(modality, bundle)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_both_towers_in_both_precisions_stay_below_20_mb() -> None:
    folders = [starter.folder(*bundle) for bundle in BUNDLES]
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < 20e6


@pytest.mark.parametrize("modality", starter.MODALITIES)
@pytest.mark.parametrize("graph", ["encoder.onnx", "encoder.u8s8.onnx", "encoder.u8u8.onnx"])
def test_int8_means_what_fp32_means(modality: str, graph: str, tmp_path: Path) -> None:
    with edgebind.load(starter.folder(modality, "fp32")) as fp32:
        expected = _gate(modality, fp32)
        bank = fp32.labels.embeddings
    with edgebind.load(starter.folder(modality, "int8")) as int8:
        int8._backend = _backend(int8.folder / graph, tmp_path)
        found = _gate(modality, int8)
    cosines = (expected * found).sum(axis=1)
    agreement = ((expected @ bank.T).argmax(axis=1) == (found @ bank.T).argmax(axis=1)).mean()
    assert cosines.mean() >= 0.998
    assert np.percentile(cosines, 1) >= 0.99
    assert agreement >= 0.995


def _backend(graph: Path, folder: Path) -> OnnxRuntimeBackend:
    """TensorRT's graph is judged as it is written, with half's own rounding: ONNX Runtime 1.23 has its Q/DQ in half wrong by more."""
    if graph.name != "encoder.onnx":
        return OnnxRuntimeBackend(graph)
    pytest.importorskip("onnx")
    emulation.write(graph, folder / "emulated.onnx")
    return OnnxRuntimeBackend(folder / "emulated.onnx", optimise=False)


@pytest.mark.parametrize("modality", starter.MODALITIES)
def test_calibration_and_gate_share_no_recording(modality: str) -> None:
    def contents(part: str) -> set[bytes]:
        folder = starter.RECORDINGS / part / modality
        return {path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert contents("calibration")
    assert contents("gate")
    assert not contents("calibration") & contents("gate")


@pytest.mark.parametrize("modality", starter.MODALITIES)
def test_the_recipe_is_the_bundles(modality: str) -> None:
    pytest.importorskip("torch")
    from edgebind.train import recipe

    plan = recipe.read(starter.HERE / "recipes" / f"{modality}-teacher.toml")
    edge = plan.edges[0]
    with edgebind.load(starter.folder(modality, "fp32")) as bundle:
        assert bundle.labels.prompts == tuple(prompts.texts[0] for prompts in edge.prompts)
        assert bundle.manifest.preprocess == plan.nodes[modality].preprocess
        assert bundle.manifest.logit_scale == pytest.approx(1 / edge.temperature)


@pytest.mark.parametrize("modality", starter.MODALITIES)
def test_prompts_lie_where_the_sentence_encoder_puts_them(modality: str) -> None:
    pytest.importorskip("sentence_transformers")
    from edgebind.models.sentences import SentenceAnchor

    bank = edgebind.load(starter.folder(modality, "int8")).labels
    np.testing.assert_allclose(SentenceAnchor().encode(bank.prompts), bank.embeddings, atol=1e-4)


def test_names_what_it_was_taught(shared: Path) -> None:
    # Recordings it has learned from: this finds a broken road, not an untaught tower. The model card has the rest.
    from edgebind.evaluate.datasets.motion import read_spsw

    names = {"SEATED": 0, "STANDING_UP": 1, "WALKING": 2, "TURNING": 3, "SITTING_DOWN": 4}
    folder = shared / "data" / "imu_spsw"
    recordings = {path.name: path for path in folder.glob("s0[27]/*.csv.gz")}
    labelled = [item for item in read_spsw(folder) if item.group in ("s02", "s07")]
    right, total = 0, 0
    with edgebind.load(starter.folder("imu", "int8")) as bundle:
        for item, path in zip(labelled, sorted(recordings.values()), strict=True):
            vectors, centres = _embed(bundle, path)
            truth = np.array([names[item.label_at(int(time))] for time in centres])
            right += int(((vectors @ bundle.labels.embeddings.T).argmax(axis=1) == truth).sum())
            total += len(truth)
    assert total > 300
    assert right / total > 0.85


@pytest.mark.parametrize(("modality", "precision"), BUNDLES)
def test_a_bundle_remembers_its_sensor_and_finds_it_unchanged(modality: str, precision: str) -> None:
    with edgebind.load(starter.folder(modality, precision)) as bundle:
        assert bundle.reference is not None
        wanted = sources.Wanted(modality, bundle.manifest.window, starter.DEMO_RATE_HZ.get(modality))
        told = []
        for part in ("calibration", "gate", "demo"):
            for path in starter.recordings(part, modality):
                source = sources.open_source(f"file:{path}", wanted.at_once())
                told += [e.drift for e in embed_recording(bundle, source, detector=Detector(bundle.reference))]
    blocks = [drift for drift in told if drift is not None]
    assert blocks
    assert not any(drift.is_drifted for drift in blocks)
