"""Bundle -> models of a Triton Inference Server, for those who serve many devices.

    <name>            ensemble: WINDOW -> EMBEDDING, PROBABILITIES
    <name>-embed      ensemble: WINDOW -> EMBEDDING alone; only where the bundle has prompts
    <name>-prepare    Python: windows in physical units -> the encoder's input
    <name>-encoder    ONNX Runtime or a TensorRT engine, with dynamic batching
    <name>-labels     Python: unit vectors -> the probability of each prompt; only where the bundle has prompts

Requests of many devices meet in the encoder, which takes them together. A client asks for all outputs of an ensemble: Triton
calls it a deadlock when one is left out, hence the second. The fields are those of Triton's `ModelConfig`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebind import atomic, bundle, manifest, onnx_external, preprocess
from edgebind.engines import pixels, store
from edgebind.engines.key import EngineKey, graph_digest
from edgebind.errors import BackendError, OptionError, StorageError
from edgebind.export import pbtxt
from edgebind.export.pbtxt import Word
from edgebind.manifest import Manifest
from edgebind.triton import EMBEDDING, PREPARED, PROBABILITIES, WINDOW

VERSION = "1"
STEPS = ("prepare", "encoder", "labels", "embed")
"""What models are called besides the ensemble: by its name and one of these."""
_CONFIG = "config.pbtxt"
_OWNER = "edgebind.ensemble"
"""Parameter of every model that names the ensemble it was written for."""
DEVICES = ("gpu", "cpu")
FRAMES = {"uint8": Word("TYPE_UINT8"), "uint16": Word("TYPE_UINT16"), "fp32": Word("TYPE_FP32")}
"""What a thermal camera may send: grey levels, counts, °C."""
_FLOAT, _STRING = Word("TYPE_FP32"), Word("TYPE_STRING")
_ONNX_TYPES = {1: _FLOAT, 7: Word("TYPE_INT64"), 10: Word("TYPE_FP16")}
"""TensorProto's numbers."""

_MODEL = '''"""{purpose} Written by edgebind, and needs it in the Python that Triton runs."""

from pathlib import Path

from edgebind import triton


class TritonPythonModel(triton.{name}):
    folder = Path(__file__).parent
'''


@dataclass(frozen=True, slots=True)
class Serving:
    """How a bundle is to be served."""

    device: str = "gpu"
    """Where ONNX Runtime computes, `gpu` or `cpu`; an engine computes on a GPU."""
    engine: Path | None = None
    """An engine of the full TensorRT, built by `edgebind build` with the TensorRT that the server has."""
    batch: int = 16
    """Most windows in one call of the encoder."""
    delay_us: int = 1000
    """Microseconds that a request may wait for others to share a call with."""
    frames: str = "uint8"
    """Type of thermal frames, a key of `FRAMES`."""

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise OptionError("unknown device", wanted=" or ".join(DEVICES), got=repr(self.device))
        if self.frames not in FRAMES:
            raise OptionError("unknown type of frames", wanted=" or ".join(FRAMES), got=repr(self.frames))
        if not 1 <= self.batch <= 4096 or not 0 <= self.delay_us <= 10_000_000:
            raise OptionError("batch or delay out of range", got=f"{self.batch}, {self.delay_us} us")


@dataclass(frozen=True, slots=True)
class Model:
    """One folder of the repository."""

    name: str
    config: Mapping[str, Any]
    files: Mapping[str, Path | str]
    """Name, relative to the model's folder -> file to copy, or text."""


def export(folder: Path, out: Path, serving: Serving | None = None, *, name: str | None = None) -> list[str]:
    """Write the models of the bundle in `folder` into the repository `out`; returns their names, the ensemble last.

    Parameters
    ----------
    name: of the ensemble; None takes the bundle's folder.

    Raises
    ------
    BundleError: the bundle is incomplete or altered.
    OptionError: a name that Triton cannot take, or more batches than the engine accepts.
    BackendError: the engine is damaged, or of another bundle or flavour.
    StorageError: `out` cannot be written, or a model's folder is there and is something else, or of another bundle.
    """
    description = bundle.verify(folder)
    name = name or folder.resolve().name
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) is None:
        raise OptionError("no name for a model", wanted="letters, digits, '_', '.' and '-'", got=repr(name))
    models = list(_models(folder, description, name, serving or Serving()))
    for model in models:
        _keep_what_is_not_ours(out / model.name, name)
    with contextlib.ExitStack() as scratches:  # closed from the last to the first: the ensemble takes its place last
        for model in reversed(models):
            _write(scratches.enter_context(atomic.directory(out / model.name)), model, name)
    return [model.name for model in models]


def check_names(names: Sequence[str]) -> None:
    """See that bundles of these names can share a repository.

    Raises
    ------
    OptionError: two would have a model of one name, as `imu` and `imu-embed` would.
    """
    taken: dict[str, str] = {}
    for name in names:
        for model in (name, *(f"{name}-{step}" for step in STEPS)):
            if model in taken:
                pair = name if taken[model] == name else f"{taken[model]}, {name}"
                raise OptionError(
                    f"bundles would replace each other's model {model}", got=pair, remedy="rename a bundle's folder"
                )
            taken[model] = name


def _keep_what_is_not_ours(target: Path, name: str) -> None:
    """A model of this ensemble is replaced; one of another, a bundle that lies there, or a user's own folder, is not."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    config, remedy = target / _CONFIG, "choose another --out; nothing was written"
    if not config.is_file():
        raise StorageError("will not replace what is no model of Triton", where=target, remedy=remedy)
    owner = re.search(rf'key: "{_OWNER}"\s+value {{\s+string_value: "([^"]*)"', config.read_text(encoding="utf-8"))
    if owner is not None and owner[1] != name:
        remedy = "rename the bundle's folder, or choose another --out; nothing was written"
        raise StorageError("is a model of another bundle", where=target, got=owner[1], remedy=remedy)


def _write(folder: Path, model: Model, ensemble: str) -> None:
    owner = {"key": _OWNER, "value": {"string_value": ensemble}}
    config = pbtxt.write({**model.config, "parameters": [owner]})
    (folder / _CONFIG).write_text(config, encoding="utf-8")
    for name, source in model.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, str):
            path.write_text(source, encoding="utf-8")
        else:
            shutil.copyfile(source, path)


def _models(folder: Path, description: Manifest, name: str, serving: Serving) -> Iterator[Model]:
    """In the order that the ensemble needs them, itself last."""
    encoder = _encoder(folder, description, name, serving)
    (prepared,), (embedding,) = encoder.config["input"], encoder.config["output"]
    batch = encoder.config["max_batch_size"]
    steps = [_prepare(folder, description, name, batch, prepared, serving), encoder]
    yield from steps
    if description.labels:
        labels = _labels(folder, description, name, batch, embedding)
        yield from (labels, _ensemble(f"{name}-embed", batch, steps))
        steps.append(labels)
    yield _ensemble(name, batch, steps)


def _prepare(folder: Path, of: Manifest, name: str, batch: int, prepared: Mapping[str, Any], serving: Serving) -> Model:
    data_type, dims = _window(of, serving)
    config = _python(
        f"{name}-prepare",
        batch,
        {"name": WINDOW, "data_type": data_type, "dims": dims},
        {**prepared, "name": PREPARED},
    )
    how = "PreparePixels" if prepared["name"] == pixels.INPUT else "Prepare"
    text = _MODEL.format(purpose="Windows in physical units -> the encoder's input.", name=how)
    return Model(
        f"{name}-prepare", config, {f"{VERSION}/model.py": text, f"{VERSION}/{manifest.FILE}": folder / manifest.FILE}
    )


def _window(of: Manifest, serving: Serving) -> tuple[Word, list[int]]:
    """Type and shape of one window; -1 where frames may have any size."""
    if of.modality == "text":
        return _STRING, [1]
    if of.modality == "vision":
        return FRAMES["uint8"], [-1, -1, 3]
    if of.modality == "thermal":
        return FRAMES[serving.frames], [-1, -1]
    if of.modality == "depth":
        return _FLOAT, [-1, -1]
    return _FLOAT, [len(of.window.channels), of.window.length]


def _labels(folder: Path, of: Manifest, name: str, batch: int, embedding: Mapping[str, Any]) -> Model:
    output = {"name": PROBABILITIES, "data_type": _FLOAT, "dims": [len(of.labels)], "label_filename": "labels.txt"}
    config = _python(f"{name}-labels", batch, {**embedding, "name": EMBEDDING}, output)
    files: dict[str, Path | str] = {
        "labels.txt": "\n".join(of.labels) + "\n",
        f"{VERSION}/model.py": _MODEL.format(purpose="Unit vectors -> the probability of each prompt.", name="Name"),
        f"{VERSION}/{manifest.FILE}": folder / manifest.FILE,
        f"{VERSION}/{bundle.LABELS}": folder / bundle.LABELS,
    }
    return Model(f"{name}-labels", config, files)


def _python(name: str, batch: int, given: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": batch,
        "input": [given],
        "output": [made],
        "instance_group": [{"kind": Word("KIND_CPU"), "count": 1}],
    }


def _encoder(folder: Path, of: Manifest, name: str, serving: Serving) -> Model:
    graph = _graph(of, serving)
    given, made = _ends(folder / graph)
    key = None if serving.engine is None else _engine_key(serving.engine, of)
    if key is not None and key.pixels:
        given = _pixels(of)
    warm = {"key": given["name"], "value": {"data_type": given["data_type"], "dims": given["dims"], "zero_data": True}}
    runs = _on_onnxruntime(folder, graph, serving) if key is None else _on_tensorrt(serving, key)
    config = {
        "name": f"{name}-encoder",
        **runs.config,
        "input": [given],
        "output": [made],
        "dynamic_batching": {"max_queue_delay_microseconds": serving.delay_us},
        "model_warmup": [{"name": "one window", "batch_size": 1, "inputs": [warm]}],
    }
    return Model(f"{name}-encoder", config, runs.files)


def _graph(of: Manifest, serving: Serving) -> str:
    """The graph to serve; on a CPU the INT8 one whose kernels are right on every CPU, because the server's is not known."""
    everywhere = "encoder.u8u8.onnx"
    on_cpu = serving.engine is None and serving.device == "cpu"
    return everywhere if on_cpu and everywhere in of.files else bundle.ENCODER


def _on_onnxruntime(folder: Path, graph: str, serving: Serving) -> Model:
    kind = Word("KIND_CPU" if serving.device == "cpu" else "KIND_GPU")
    beside = sorted(onnx_external.locations(folder / graph))
    config = {
        "platform": "onnxruntime_onnx",
        "default_model_filename": graph,
        "max_batch_size": serving.batch,
        "instance_group": [{"kind": kind, "count": 1}],
    }
    return Model("", config, {f"{VERSION}/{file}": folder / file for file in (graph, *beside)})


def _on_tensorrt(serving: Serving, key: EngineKey) -> Model:
    assert serving.engine is not None  # it has a key
    batch = min(serving.batch, _without_gaps(key, serving.engine))
    group: dict[str, Any] = {"kind": Word("KIND_GPU"), "count": 1}
    if len(key.profiles) > 1:
        group["profile"] = [str(index) for index in range(len(key.profiles))]
    config = {
        "platform": "tensorrt_plan",
        "default_model_filename": "model.plan",
        "max_batch_size": batch,
        "instance_group": [group],
    }
    return Model("", config, {f"{VERSION}/model.plan": serving.engine})


def _without_gaps(key: EngineKey, engine: Path) -> int:
    """The largest batch up to which a profile accepts every size, because Triton forms batches of any size up to the one it is told.

    Raises
    ------
    BackendError: a window alone is not accepted.
    """
    batch = 0
    for profile in sorted(key.profiles, key=lambda profile: profile.min):
        if profile.min <= batch + 1:
            batch = max(batch, profile.max)
    if batch == 0:
        wanted = "a profile that begins at 1, such as edgebind build --batch 1-16 makes"
        raise BackendError("takes no window alone, and Triton forms batches of any size", where=engine, wanted=wanted)
    return batch


def _pixels(of: Manifest) -> dict[str, Any]:
    """The input of an engine that does the end of the preprocessing."""
    tail = preprocess.tail_of(of.preprocess)
    assert tail is not None  # its engine's key was compared with it
    return {"name": pixels.INPUT, "data_type": FRAMES["uint8"], "dims": list(tail.shape)}


def _engine_key(path: Path, of: Manifest) -> EngineKey:
    if not path.is_file():
        raise BackendError("no engine here", where=path, remedy="build it with edgebind build")
    note, why = store.read_note(path)
    if note is None:
        raise BackendError(f"is no engine of edgebind: {why}", where=path, remedy="build it with edgebind build")
    if fault := store.damage(path, note):
        raise BackendError(fault, where=path, remedy="build it again with edgebind build")
    if note.key.graph != graph_digest(of):
        raise BackendError("is the engine of another bundle", where=path, remedy="build it with edgebind build")
    if note.key.frame:
        raise BackendError("takes whole frames, which no model hands on", where=path, remedy="build it without --frame")
    tail = preprocess.tail_of(of.preprocess)
    if note.key.pixels not in ("", tail and tail.digest):
        raise BackendError("was built with other constants of the preprocessing", where=path, remedy="build it again")
    if note.key.flavour != "tensorrt":
        raise BackendError("Triton runs engines of the full TensorRT only", where=path, got="TensorRT-RTX")
    return note.key


def _ends(graph: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(input, output) of the encoder, as a config names them: without the batch."""
    from edgebind.calibration.graph import require_onnx

    model = require_onnx().load(str(graph), load_external_data=False)
    ends = (model.graph.input, model.graph.output)
    if any(len(end) != 1 for end in ends):
        raise BackendError("not an encoder", where=graph, wanted="1 input, 1 output", got=tuple(map(len, ends)))
    given, made = (_tensor(end[0]) for end in ends)
    return given, made


def _tensor(value: Any) -> dict[str, Any]:
    tensor = value.type.tensor_type
    dims = [int(size.dim_value) for size in tensor.shape.dim][1:]
    return {"name": value.name, "data_type": _ONNX_TYPES[tensor.elem_type], "dims": dims}


def _ensemble(name: str, batch: int, steps: Sequence[Model]) -> Model:
    """Each step's output is the next one's input; embedding and probabilities leave the ensemble too."""
    values = (WINDOW, PREPARED, EMBEDDING, PROBABILITIES)
    (window,) = steps[0].config["input"]
    outputs = [{**step.config["output"][0], "name": values[place + 2]} for place, step in enumerate(steps[1:])]
    for output in outputs:
        output.pop("label_filename", None)  # the labels' own model has it, and the ensemble finds it there
    config = {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": batch,
        "input": [window],
        "output": outputs,
        "ensemble_scheduling": {"step": [_step(step, *values[place : place + 2]) for place, step in enumerate(steps)]},
    }
    return Model(name, config, {f"{VERSION}/README": "An ensemble has no file of its own, but needs this folder.\n"})


def _step(model: Model, takes: str, gives: str) -> dict[str, Any]:
    (given,), (made,) = model.config["input"], model.config["output"]
    return {
        "model_name": model.name,
        "model_version": -1,
        "input_map": [{"key": given["name"], "value": takes}],
        "output_map": [{"key": made["name"], "value": gives}],
    }
