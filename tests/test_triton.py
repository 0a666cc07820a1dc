"""A model repository that Triton's own schema accepts, and whose models compute what the bundle computes.

The schema is that of NVIDIA's package `tritonclient`; the server itself is not run. `Server` below does by hand what an ensemble
is: it reads the configs, starts each Python model and ONNX graph, and passes tensors along the maps.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import edgebind
from edgebind import bundle, cli, preprocess, starter
from edgebind.engines import EngineKey, Options, Profile, store
from edgebind.engines.key import graph_digest
from edgebind.errors import BackendError, EdgebindError, OptionError, StorageError
from edgebind.export import pbtxt, triton
from edgebind.export.triton import Serving
from tests import bundles

onnxruntime = pytest.importorskip("onnxruntime")
text_format = pytest.importorskip("google.protobuf.text_format")

TYPES = {"TYPE_FP32": np.float32, "TYPE_INT64": np.int64, "TYPE_UINT8": np.uint8, "TYPE_STRING": np.object_}
IMU, THERMAL = starter.folder("imu", "int8"), starter.folder("thermal", "fp32")


@pytest.fixture(scope="session")
def schema() -> Any:
    """Triton's `model_config.proto`, compiled. Found without importing `tritonclient.grpc`, which would want grpcio."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or package.submodule_search_locations is None:
        pytest.skip("tritonclient, which has Triton's schema, is not installed")
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Tensor:
    name: str
    values: Any

    def as_numpy(self) -> Any:
        return self.values


@dataclass
class Response:
    output_tensors: list[Tensor]
    error: Any = None


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Triton gives its Python models, as its documentation describes it."""
    module: Any = types.ModuleType("triton_python_backend_utils")
    module.Tensor, module.InferenceResponse, module.TritonError = Tensor, Response, str
    module.get_input_tensor_by_name = lambda request, name: next(item for item in request if item.name == name)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)


class Server:
    """A repository, read as Triton reads it."""

    def __init__(self, repository: Path, schema: Any) -> None:
        self._repository = repository
        self._schema = schema
        self.configs = {path.parent.name: self._read(path) for path in repository.glob("*/config.pbtxt")}

    def _read(self, path: Path) -> Any:
        return text_format.Parse(path.read_text(encoding="utf-8"), self._schema.ModelConfig())

    def infer(self, name: str, window: np.ndarray) -> dict[str, np.ndarray]:
        """Run the ensemble `name`."""
        ensemble = self.configs[name]
        tensors = {ensemble.input[0].name: window}
        for step in ensemble.ensemble_scheduling.step:
            given = {key: self._fitting(step.model_name, key, tensors[value]) for key, value in step.input_map.items()}
            made = self._run(step.model_name, given)
            tensors |= {value: made[key] for key, value in step.output_map.items()}
        return {output.name: tensors[output.name] for output in ensemble.output}

    def _fitting(self, model: str, name: str, values: np.ndarray) -> np.ndarray:
        """`values`, if they are what the model's config says of its input."""
        wanted = next(item for item in self.configs[model].input if item.name == name)
        assert values.dtype == TYPES[self._schema.DataType.Name(wanted.data_type)]
        assert len(values) <= self.configs[model].max_batch_size
        assert all(want in (-1, got) for want, got in zip(wanted.dims, values.shape[1:], strict=True))
        return values

    def _run(self, model: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        config, folder = self.configs[model], self._repository / model / "1"
        if config.backend == "python":
            (response,) = start(folder).execute([[Tensor(*item) for item in given.items()]])
            assert response.error is None, response.error
            return {tensor.name: tensor.values for tensor in response.output_tensors}
        assert config.platform == "onnxruntime_onnx"
        session = onnxruntime.InferenceSession(str(folder / config.default_model_filename))
        names = [output.name for output in config.output]
        return dict(zip(names, session.run(names, given), strict=True))


def start(folder: Path) -> Any:
    """The Python model in a version folder, initialised."""
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize({"model_name": folder.parent.name})
    return model


def _windows(folder: Path) -> np.ndarray:
    random = np.random.default_rng(0)
    if "thermal" in folder.name:
        return random.integers(0, 255, (3, 60, 80), np.uint8)
    return random.normal(size=(5, 6, 200)).astype(np.float32)


@pytest.mark.parametrize("folder", [IMU, THERMAL], ids=lambda folder: folder.name)
def test_an_ensemble_computes_what_the_bundle_computes(folder: Path, schema: Any, tmp_path: Path) -> None:
    assert triton.export(folder, tmp_path, Serving("cpu"))[-1] == folder.name
    windows = _windows(folder)
    served = Server(tmp_path, schema).infer(folder.name, windows)
    graph = "encoder.u8u8.onnx" if folder is IMU else "encoder.onnx"
    assert (tmp_path / f"{folder.name}-encoder" / "1" / graph).read_bytes() == (folder / graph).read_bytes()
    with edgebind.load(folder) as opened:
        session = onnxruntime.InferenceSession(str(folder / graph))
        (expected,) = session.run(None, {session.get_inputs()[0].name: opened.prepare(list(windows))})
        odds = opened.labels.probabilities(expected, opened.manifest.logit_scale)
    np.testing.assert_allclose(served["EMBEDDING"], expected, atol=1e-6)
    np.testing.assert_allclose(served["PROBABILITIES"], odds, atol=1e-6)
    alone = Server(tmp_path, schema).infer(f"{folder.name}-embed", windows)
    assert alone.keys() == {"EMBEDDING"}
    np.testing.assert_array_equal(alone["EMBEDDING"], served["EMBEDDING"])
    assert served["PROBABILITIES"].shape == (len(windows), 10 if folder is IMU else odds.shape[1])


def test_every_config_says_who_batches_and_where(schema: Any, tmp_path: Path) -> None:
    triton.export(IMU, tmp_path, Serving(batch=8, delay_us=250))
    configs = Server(tmp_path, schema).configs
    assert {name: config.name for name, config in configs.items()} == {name: name for name in configs}
    assert {config.max_batch_size for config in configs.values()} == {8}
    encoder = configs["imu-int8-encoder"]
    assert encoder.dynamic_batching.max_queue_delay_microseconds == 250
    assert [group.kind for group in encoder.instance_group] == [schema.ModelInstanceGroup.KIND_GPU]
    assert encoder.default_model_filename == "encoder.onnx"
    assert encoder.model_warmup[0].inputs["input"].dims == [6, 200]
    kinds = {configs[f"imu-int8-{step}"].instance_group[0].kind for step in ("prepare", "labels")}
    assert kinds == {schema.ModelInstanceGroup.KIND_CPU}


def test_labels_stand_where_triton_looks_for_them(tmp_path: Path, schema: Any) -> None:
    triton.export(IMU, tmp_path)
    output = Server(tmp_path, schema).configs["imu-int8-labels"].output[0]
    names = (tmp_path / "imu-int8-labels" / output.label_filename).read_text(encoding="utf-8").splitlines()
    assert tuple(names) == bundle.verify(IMU).labels
    assert output.dims == [len(names)]


def test_a_bundle_without_prompts_has_no_labels_model(tmp_path: Path, schema: Any) -> None:
    folder = bundles.write(tmp_path / "bare", bank=None)
    triton.export(folder, tmp_path / "models", Serving("cpu"), name="bare")
    server = Server(tmp_path / "models", schema)
    assert sorted(server.configs) == ["bare", "bare-encoder", "bare-prepare"]
    window = np.ones((2, 6, 10), np.float32)
    with edgebind.load(folder) as opened:
        np.testing.assert_allclose(server.infer("bare", window)["EMBEDDING"], opened.embed(list(window)), atol=1e-6)


def test_a_prompt_is_served_as_a_string(tmp_path: Path, schema: Any) -> None:
    pytest.importorskip("instant_clip_tokenizer")
    of = replace(bundles.IMU, modality="text", preprocess={"kind": "text"})
    folder = tmp_path / "text"
    bundle.write(folder, of, {bundle.ENCODER: bundles.encoder((77,), whole=True)})
    triton.export(folder, tmp_path / "models", Serving("cpu"))
    prompts = np.array([["a dog"], ["a café"]], dtype=object)
    as_bytes = np.array([[prompt.encode()] for (prompt,) in prompts], dtype=object)
    server = Server(tmp_path / "models", schema)
    with edgebind.load(folder) as opened:
        expected = opened.embed([np.asarray(prompt) for (prompt,) in prompts])
    np.testing.assert_allclose(server.infer("text", as_bytes)["EMBEDDING"], expected, atol=1e-6)
    model = start(tmp_path / "models" / "text-prepare" / "1")
    (response,) = model.execute([[Tensor("WINDOW", np.array([[b"\xff"]], dtype=object))]])
    assert response.error == "a prompt is no text (wanted UTF-8)"


def test_a_bad_request_fails_alone(tmp_path: Path) -> None:
    triton.export(IMU, tmp_path)
    model = start(tmp_path / "imu-int8-prepare" / "1")
    good = np.zeros((1, 6, 200), np.float32)
    bad = np.full((1, 6, 200), np.nan, np.float32)
    first, second = model.execute([[Tensor("WINDOW", bad)], [Tensor("WINDOW", good)]])
    assert "NaN" in first.error
    assert first.output_tensors == []
    assert second.error is None
    assert second.output_tensors[0].values.shape == (1, 6, 200)


def _engine(folder: Path, path: Path, **changes: Any) -> Path:
    """A file with the note of an engine of the bundle in `folder`."""
    graph = graph_digest(bundle.verify(folder))
    profiles = (Profile(1, 1, 1), Profile(1, 8, 8))
    key = EngineKey(graph, "tensorrt", "10.9.0", "linux-x86_64", "NVIDIA L4", ((8, 9),), profiles, Options())
    store.write(path, replace(key, **changes), b"plan", 1.0)
    return path


def test_an_engine_is_served_with_its_profiles(schema: Any, tmp_path: Path) -> None:
    triton.export(IMU, tmp_path / "models", Serving(engine=_engine(IMU, tmp_path / "e.engine")))
    config = Server(tmp_path / "models", schema).configs["imu-int8-encoder"]
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 8)
    assert list(config.instance_group[0].profile) == ["0", "1"]
    assert (tmp_path / "models" / "imu-int8-encoder" / "1" / config.default_model_filename).read_bytes() == b"plan"


@pytest.mark.parametrize(
    ("profiles", "batch"),
    [
        (((1, 1, 1), (16, 16, 16)), 1),  # Triton would form batches of 2 to 15, which no profile takes
        (((2, 8, 16), (1, 1, 1)), 16),
        (((1, 2, 4), (3, 6, 8), (10, 16, 16)), 8),
    ],
)
def test_triton_forms_no_batch_that_the_engine_refuses(profiles: Any, batch: int, schema: Any, tmp_path: Path) -> None:
    engine = _engine(IMU, tmp_path / "e.engine", profiles=tuple(Profile(*sizes) for sizes in profiles))
    triton.export(IMU, tmp_path / "models", Serving(engine=engine))
    assert Server(tmp_path / "models", schema).configs["imu-int8-encoder"].max_batch_size == batch


def test_an_engine_that_takes_pixels_is_given_pixels(schema: Any, tmp_path: Path) -> None:
    folder = bundles.write_seer(tmp_path / "seer")
    tail = preprocess.tail_of(bundle.verify(folder).preprocess)
    assert tail is not None
    engine = _engine(folder, tmp_path / "e.engine", pixels=tail.digest)
    triton.export(folder, tmp_path / "models", Serving(engine=engine))
    server = Server(tmp_path / "models", schema)
    (given,), (warm,) = (
        server.configs["seer-encoder"].input,
        server.configs["seer-encoder"].model_warmup[0].inputs.items(),
    )
    assert (given.name, schema.DataType.Name(given.data_type), given.dims) == ("pixels", "TYPE_UINT8", [32, 32, 3])
    assert (warm[0], warm[1].data_type, warm[1].dims) == (given.name, given.data_type, given.dims)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    (response,) = start(tmp_path / "models" / "seer-prepare" / "1").execute([[Tensor("WINDOW", pictures)]])
    assert response.error is None, response.error
    (prepared,) = response.output_tensors
    assert prepared.values.dtype == np.uint8
    with edgebind.load(folder) as opened:
        made = np.stack([tail(picture) for picture in prepared.values])
        np.testing.assert_array_equal(made, opened.prepare(list(pictures)))
    frames = _engine(folder, tmp_path / "frames.engine", pixels=tail.digest, frame=(40, 50))
    with pytest.raises(BackendError, match="takes whole frames, which no model hands on; build it without --frame"):
        triton.export(folder, tmp_path / "models", Serving(engine=frames))
    other = _engine(folder, tmp_path / "other.engine", pixels="0" * 16)
    with pytest.raises(BackendError, match="was built with other constants of the preprocessing; build it again"):
        triton.export(folder, tmp_path / "models", Serving(engine=other))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.with_suffix(".json").unlink(), "is no engine of edgebind"),
        (lambda path: path.write_bytes(b"nalp"), "its bytes were altered; build it again"),
        (lambda path: _engine(IMU, path, flavour="rtx"), "Triton runs engines of the full TensorRT only"),
        (lambda path: _engine(THERMAL, path), "is the engine of another bundle"),
        (lambda path: _engine(IMU, path, profiles=(Profile(2, 8, 16),)), "takes no window alone"),
    ],
)
def test_an_engine_that_cannot_be_served_is_one_line(spoil: Any, message: str, tmp_path: Path) -> None:
    spoil(_engine(IMU, tmp_path / "e.engine"))
    with pytest.raises(BackendError, match=message):
        triton.export(IMU, tmp_path / "models", Serving(engine=tmp_path / "e.engine"))
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"device": "tpu"}, {"frames": "int4"}, {"batch": 0}, {"delay_us": -1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_serving_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Serving(**wrong)


def test_the_command_writes_and_refuses(tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> Any:
        return CliRunner().invoke(cli.group, ["triton", *(str(argument) for argument in arguments)])

    done = run(IMU, THERMAL, "--out", tmp_path / "models")
    assert done.exit_code == 0, done.output
    assert f"ensemble  {tmp_path / 'models' / 'imu-int8'}, with imu-int8-prepare, imu-int8-encoder" in done.output
    two = run(IMU, THERMAL, "--engine", tmp_path / "e.engine", "--out", tmp_path / "other")
    assert isinstance(two.exception, EdgebindError)
    assert "an engine is of one bundle (got 2 bundles)" in str(two.exception)
    twins = [bundles.write(tmp_path / side / "imu") for side in ("a", "b")]
    said = "bundles would replace each other's model imu (got imu)"
    assert said in str(run(*twins, "--out", tmp_path / "other").exception)
    nested = [twins[0], bundles.write(tmp_path / "imu-embed")]
    said = "bundles would replace each other's model imu-embed (got imu, imu-embed); rename a bundle's folder"
    assert said in str(run(*nested, "--out", tmp_path / "other").exception)
    odd = bundles.write(tmp_path / "ä b")
    assert "no name for a model" in str(run(odd, "--out", tmp_path / "other").exception)
    assert not (tmp_path / "other").exists()


def test_what_is_no_model_is_never_replaced(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "imu")
    with pytest.raises(StorageError, match="imu: will not replace what is no model of Triton"):
        triton.export(folder, tmp_path)
    assert bundle.verify(folder)
    assert list(tmp_path.iterdir()) == [folder]
    (tmp_path / "models" / "imu").mkdir(parents=True)  # an empty one may be taken, and a model be written anew
    first = triton.export(folder, tmp_path / "models")
    assert triton.export(folder, tmp_path / "models") == first


@pytest.mark.parametrize("names", [("imu", "imu-embed"), ("imu-encoder", "imu")], ids=" then ".join)
def test_a_model_of_another_bundle_is_never_replaced(names: tuple[str, str], tmp_path: Path, schema: Any) -> None:
    first, second = (bundles.write(tmp_path / "bundles" / name) for name in names)
    written = triton.export(first, tmp_path / "models")
    before = {path: path.read_bytes() for path in (tmp_path / "models").rglob("*") if path.is_file()}
    with pytest.raises(StorageError, match=rf"is a model of another bundle \(got {names[0]}\); rename"):
        triton.export(second, tmp_path / "models")
    assert {path: path.read_bytes() for path in (tmp_path / "models").rglob("*") if path.is_file()} == before
    assert triton.export(first, tmp_path / "models") == written
    owners = {
        c.parameters["edgebind.ensemble"].string_value for c in Server(tmp_path / "models", schema).configs.values()
    }
    assert owners == {names[0]}


def test_text_format_says_what_the_dictionary_says(schema: Any) -> None:
    message = {
        "name": 'quote " backslash \\ and newline \n',
        "max_batch_size": 4,
        "platform": None,
        "instance_group": [{"kind": pbtxt.Word("KIND_CPU"), "gpus": [0, 1], "profile": ["a"]}],
        "input": [{"name": "one", "optional": True}, {"name": "two", "optional": False}],
        "dynamic_batching": {"preserve_ordering": True},
    }
    config = text_format.Parse(pbtxt.write(message), schema.ModelConfig())
    assert config.name == message["name"]
    assert [(item.name, item.optional) for item in config.input] == [("one", True), ("two", False)]
    assert list(config.instance_group[0].gpus) == [0, 1]
    assert config.dynamic_batching.preserve_ordering


def test_json_names_nothing_of_this_machine(tmp_path: Path) -> None:
    triton.export(IMU, tmp_path / "models")
    for path in (tmp_path / "models").rglob("*"):
        if path.suffix in (".pbtxt", ".py"):
            assert str(tmp_path) not in path.read_text(encoding="utf-8")
    assert (
        json.loads((tmp_path / "models" / "imu-int8-prepare" / "1" / "manifest.json").read_text())["modality"] == "imu"
    )


def test_export_serves_what_it_exported(schema: Any, tmp_path: Path) -> None:
    arguments = ["export", "--precision", "fp32", "--modality", "thermal", "--out", tmp_path / "bundles"]
    done = CliRunner().invoke(cli.group, [str(item) for item in (*arguments, "--triton", tmp_path / "models")])
    assert done.exit_code == 0, done.output
    assert f"triton      {tmp_path / 'models' / 'thermal-fp32'}, an ensemble" in done.output
    served = Server(tmp_path / "models", schema).infer("thermal-fp32", _windows(THERMAL))
    with edgebind.load(tmp_path / "bundles" / "thermal-fp32") as opened:
        np.testing.assert_allclose(served["EMBEDDING"], opened.embed(list(_windows(THERMAL))), atol=1e-6)
