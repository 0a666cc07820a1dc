"""An encoder that takes 8-bit pixels gives the vectors of one that takes what the host makes of them.

ONNX Runtime is the judge: it runs the very graph that TensorRT compiles.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import edgebind
from edgebind import backends, bundle, modality, preprocess
from edgebind.benchmarks.builds import SMS, imagebind_graphs
from edgebind.engines import EngineFile, Profile, builder, engine_for, pixels
from edgebind.engines.builder import Job
from edgebind.engines.flavour import Flavour
from edgebind.engines.key import Options
from edgebind.engines.pixels import Front
from edgebind.errors import BundleError, OptionError, RecordingError
from edgebind.preprocess import ThermalPreprocessor, VisionPreprocessor, images
from tests import bundles
from tests.engines import fakes
from tests.engines.conftest import ADA
from tests.engines.test_api import RELEASES

SEER = VisionPreprocessor(size=32)
FRONT = Front(SEER.tail)


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[np.ndarray]:
    """Two of ImageBind's and two of a street at night."""
    folder = shared / "data"
    paths = [*sorted(folder.glob("imagebind_assets/*.jpg")), *sorted(folder.glob("thermal_llvip/vi/*.jpg"))[:2]]
    return [images.read_image(path) for path in paths]


def _run(graph: Path | bytes, value: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph if isinstance(graph, bytes) else str(graph))
    (found,) = session.run(None, {session.get_inputs()[0].name: value})
    return np.asarray(found)


def _both(graph: Path, make: VisionPreprocessor, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors by the host's road, and by the engine's."""
    host = _run(graph, np.stack([make(picture) for picture in pictures]))
    return host, _run(
        pixels.in_front_of(graph, Front(make.tail)), np.stack([make.pixels(picture) for picture in pictures])
    )


def test_what_stands_in_front_is_onnx_and_computes_the_same_numbers(pictures: list[np.ndarray], tmp_path: Path) -> None:
    graph = bundles.write_seer(tmp_path / "b") / bundle.ENCODER
    onnx.checker.check_model(onnx.load_from_string(pixels.in_front_of(graph, FRONT)), full_check=True)
    host, engine = _both(graph, SEER, pictures)
    np.testing.assert_array_equal(engine, host)


@pytest.mark.parametrize("how", images.RESIZES)
def test_frames_are_resized_to_the_grey_level(how: str, pictures: list[np.ndarray], tmp_path: Path) -> None:
    graph, make = bundles.write_seer(tmp_path / "b") / bundle.ENCODER, VisionPreprocessor(size=32, resize=how)
    for picture in pictures:
        frame = picture[:360, :480]
        model = pixels.in_front_of(graph, Front(make.tail, (360, 480)))
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
        np.testing.assert_array_equal(_run(model, frame[None]), _run(graph, make(frame)[None]))


def test_thermal_frames_of_8_bits_are_resized_too(pictures: list[np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "e.onnx").write_bytes(
        bundles.encoder((1, 32, 32), weights=np.random.default_rng(0).normal(size=(1024, 4)))
    )
    make = ThermalPreprocessor(size=32, resize="squash", mean=0.4, std=0.2)
    assert make.tail is not None
    for picture in pictures:
        frame = np.ascontiguousarray(picture[:300, :400, 1])
        np.testing.assert_array_equal(make.tail(make.pixels(frame)), make(frame))
        model = pixels.in_front_of(tmp_path / "e.onnx", Front(make.tail, (300, 400)))
        np.testing.assert_array_equal(
            _run(model, make.frame(frame)[None]), _run(tmp_path / "e.onnx", make(frame)[None])
        )
        with pytest.raises(RecordingError, match=r"8-bit frames \(got uint16\); --backend tensorrt-floats"):
            make.frame(frame.astype(np.uint16))


@pytest.mark.slow
def test_imagebinds_tower_in_three_precisions(pictures: list[np.ndarray], rtx: Flavour, tmp_path: Path) -> None:
    """Full depth and every kind of layer, made narrow; and TensorRT-RTX builds each for every GPU."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from edgebind.models.imagebind import ARCHITECTURES

    make = VisionPreprocessor()
    graphs = imagebind_graphs("vision", tmp_path, replace(ARCHITECTURES["vision"], width=64, heads=2, depth=4))
    for precision, graph in graphs.items():
        host, engine = _both(graph, make, pictures)
        np.testing.assert_allclose(engine, host, atol=1e-6, err_msg=precision)
        for front, sms in ((Front(make.tail), SMS), (Front(make.tail, (480, 640)), SMS[1:2])):
            assert builder.build(Job(graph, rtx, (Profile(1, 1, 16),), sms, front=front)).data


def test_the_tail_is_what_the_host_does(pictures: list[np.ndarray]) -> None:
    """Worked out in float64, apart from the class."""
    for picture in pictures:
        levels = SEER.pixels(picture)
        assert levels.shape == SEER.tail.shape
        assert levels.dtype == np.uint8
        wanted = (levels / 255 - np.array(SEER.mean)) / np.array(SEER.std)
        np.testing.assert_allclose(SEER(picture), wanted.transpose(2, 0, 1), atol=1e-6)
        np.testing.assert_array_equal(SEER.tail(levels), SEER(picture))


def test_only_colour_pictures_end_so() -> None:
    """Thermal frames may be counts or degrees, depth is metres, and what is no picture has no pixels."""
    for sometimes, wanted in ((False, {"vision"}), (True, {"vision", "thermal"})):
        made = {name: preprocess.for_imagebind(name).to_dict() for name in modality.MODALITIES}
        assert {name for name, of in made.items() if preprocess.tail_of(of, sometimes=sometimes)} == wanted
    assert [ThermalPreprocessor(normalise=how).tail for how in ("standard", "robust")] == [None, None]
    assert ThermalPreprocessor(resize="by-size").tail is None


@pytest.mark.parametrize("spoil", ["another size", "whole numbers", "two inputs", "no graph", "cut off"])
def test_a_graph_that_takes_something_else_is_one_line(spoil: str, tmp_path: Path) -> None:
    model = onnx.load_from_string(bundles.encoder((3, 32, 32), whole=spoil == "whole numbers"))
    if spoil == "two inputs":
        model.graph.input.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))
    data = {"no graph": b"GIF89a", "cut off": model.SerializeToString()[:-5]}.get(spoil, model.SerializeToString())
    (tmp_path / "e.onnx").write_bytes(data)
    front = Front(VisionPreprocessor(size=16).tail) if spoil == "another size" else FRONT
    says = "not a readable ONNX graph" if spoil in ("no graph", "cut off") else r"wanted float32 \(batch, 3, "
    with pytest.raises(BundleError, match=rf"e\.onnx: .*{says}"):
        pixels.in_front_of(tmp_path / "e.onnx", front)


def test_a_file_without_a_graph_is_no_encoder(tmp_path: Path) -> None:
    (tmp_path / "e.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="not a readable ONNX graph"):
        pixels.in_front_of(tmp_path / "e.onnx", FRONT)


def _engine(folder: Path, rtx: Flavour, cache: Path, front: Front | None) -> EngineFile:
    made = engine_for(folder, bundle.verify(folder), device=ADA, flavour=rtx, cache=cache, front=front)
    assert made.size > 1000
    return made


def test_an_engine_that_takes_something_else_is_never_taken(rtx: Flavour, tmp_path: Path) -> None:
    folder, cache = bundles.write_seer(tmp_path / "b"), tmp_path / "cache"
    floats = _engine(folder, rtx, cache, None)
    assert floats.key.pixels == ""
    made = _engine(folder, rtx, cache, FRONT)
    assert made.built
    assert made.why.endswith("it takes the encoder's own input, and one for 8-bit pixels is wanted")
    assert [_engine(folder, rtx, cache, front).path for front in (None, FRONT)] == [floats.path, made.path]
    floats.path.unlink()
    floats.path.with_suffix(".json").unlink()
    back = _engine(folder, rtx, cache, None)
    assert back.why.endswith("it takes 8-bit pixels, and one for the encoder's own input is wanted")


def test_other_constants_are_another_engine(rtx: Flavour, tmp_path: Path) -> None:
    """Two bundles of one graph that differ in the manifest alone."""
    folder, cache = bundles.write_seer(tmp_path / "b"), tmp_path / "cache"
    first = _engine(folder, rtx, cache, FRONT)
    again = _engine(folder, rtx, cache, Front(VisionPreprocessor(size=32, mean=(0.0,) * 3).tail))
    assert again.path != first.path
    assert again.why.endswith("it was built with other constants of the preprocessing")


def test_an_engine_for_frames_is_another_engine(rtx: Flavour, tmp_path: Path) -> None:
    folder, cache, frames = bundles.write_seer(tmp_path / "b"), tmp_path / "cache", Front(SEER.tail, (90, 120))
    made = _engine(folder, rtx, cache, frames)
    assert (made.key.frame, made.key.takes) == ((90, 120), "8-bit frames of 120 x 90")
    manifest = bundle.verify(folder)
    taken = engine_for(folder, manifest, device=ADA, flavour=rtx, cache=cache, front=FRONT, or_any=True)
    assert taken.path == made.path, "somebody built it on purpose"
    other = _engine(folder, rtx, cache, Front(SEER.tail, (90, 160)))
    assert other.why.endswith("it takes 8-bit frames of 120 x 90, and one for 8-bit frames of 160 x 90 is wanted")
    plain = _engine(folder, rtx, cache, FRONT)
    assert plain.built
    assert plain.key.frame == ()
    assert not _engine(folder, rtx, cache, frames).built
    with pytest.raises(OptionError, match="--tf32: TF32 would round the grey levels"):
        builder.check(Job(folder / bundle.ENCODER, rtx, (Profile(),), ((8, 9),), Options(tf32=True), front=frames))


def test_an_engine_for_thermal_frames_is_taken_where_somebody_built_it(rtx: Flavour, tmp_path: Path) -> None:
    folder, cache = bundles.write_seer(tmp_path / "b"), tmp_path / "cache"
    manifest = bundle.verify(folder)

    def run() -> EngineFile:
        """As for a bundle whose camera may send something else: floats, unless there is one for frames."""
        return engine_for(folder, manifest, device=ADA, flavour=rtx, cache=cache, or_any=True, or_frames=SEER.tail)

    frames = _engine(folder, rtx, cache, Front(SEER.tail, (90, 120)))
    assert run().path == frames.path
    floats = _engine(folder, rtx, cache, None)
    assert floats.built
    assert run().path == floats.path


def test_engines_from_before_there_were_pixels_still_fit(rtx: Flavour, tmp_path: Path) -> None:
    folder = bundles.write_seer(tmp_path / "b")
    note = _engine(folder, rtx, tmp_path / "cache", None).path.with_suffix(".json")
    data = json.loads(note.read_text())
    del data["key"]["pixels"], data["key"]["frame"]
    note.write_text(json.dumps(data))
    assert not _engine(folder, rtx, tmp_path / "cache", None).built


def test_weights_beside_the_graph_are_found(rtx: Flavour, tmp_path: Path) -> None:
    graph = bundles.write_seer(tmp_path / "b") / bundle.ENCODER
    apart = tmp_path / "encoder.onnx"
    onnx.save(onnx.load(graph), apart, save_as_external_data=True, location="encoder.onnx.data", size_threshold=0)
    whole, parted = (
        builder.build(Job(path, rtx, (Profile(1, 1, 1),), ((8, 6),), front=FRONT)) for path in (graph, apart)
    )
    assert (tmp_path / "encoder.onnx.data").stat().st_size > 10_000
    assert parted.data == whole.data


def test_every_release_reads_the_graph_from_memory(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = json.loads((shared / "tensorrt" / "api.json").read_text(encoding="utf-8"))
    monkeypatch.setattr("edgebind.engines.builder.check", lambda job: None)
    graph = bundles.write_seer(tmp_path / "b") / bundle.ENCODER
    for release in RELEASES:
        flavour = fakes.flavour(api[release], release)
        builder.build(Job(graph, flavour, (Profile(1, 1, 1),), ((8, 9),), front=FRONT))
        assert flavour.trt.OnnxParser.read == [(pixels.in_front_of(graph, FRONT), str(graph))]


class _Engine:
    """Stands where a TensorRT engine would: takes what the loaded graph takes."""

    name, input_name, output_name = "tensorrt", pixels.INPUT, "embedding"

    def __init__(self, folder: Path, front: Front | None) -> None:
        self.takes_pixels, self.frame = front is not None, front and front.frame
        self._graph = folder / bundle.ENCODER if front is None else pixels.in_front_of(folder / bundle.ENCODER, front)

    def infer(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (value,) = feed.values()
        return {self.output_name: _run(self._graph, value)}


def test_a_bundle_feeds_an_engine_what_it_takes(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bundles.write_seer(tmp_path / "b")
    with edgebind.load(folder, backend="onnxruntime") as opened:
        host = opened.embed(pictures)
    asked: list[bool] = []

    def open_engine(name: str, folder: Path, manifest: object, *, threads: object, pixels: bool) -> _Engine:
        asked.append(pixels)
        return _Engine(folder, FRONT if pixels else None)

    monkeypatch.setattr(backends, "open_backend", open_engine)
    on_pixels, on_floats = bundle.load(folder), bundle.load(folder, pixels=False)
    assert on_pixels.feed(pictures)[pixels.INPUT].dtype == np.uint8
    np.testing.assert_allclose(on_pixels.embed(pictures), host, atol=1e-6)
    np.testing.assert_allclose(on_pixels.embed(pictures[:1]), host[:1], atol=1e-6)
    np.testing.assert_array_equal(on_floats.embed(pictures), host)
    np.testing.assert_array_equal(on_pixels.prepare(pictures), on_floats.prepare(pictures))
    assert asked == [True, False]


def test_a_bundle_feeds_whole_frames_to_an_engine_that_resizes_them(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, frames = bundles.write_seer(tmp_path / "b"), [picture[:360, :480] for picture in pictures]
    with edgebind.load(folder, backend="onnxruntime") as opened:
        host = opened.embed(frames)
    engine = _Engine(folder, Front(SEER.tail, (360, 480)))
    monkeypatch.setattr(backends, "open_backend", lambda *given, **options: engine)
    on_frames = bundle.load(folder)
    np.testing.assert_array_equal(on_frames.feed(frames)[pixels.INPUT], np.stack(frames))
    np.testing.assert_allclose(on_frames.embed(frames), host, atol=1e-6)
    with pytest.raises(
        RecordingError, match=r"frames of another size \(wanted 480 x 360, got 480 x 300\); build one without"
    ):
        on_frames.embed([frames[0][:300]])
