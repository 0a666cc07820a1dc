"""The whole road: source -> FP32 graph -> precision -> gate -> bundle.

Everything is made in a scratch folder and only a finished bundle is moved to its place, so Ctrl-C or a full disk leaves
what was there before.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgebind import __version__, bundle, manifest, starter, utf8
from edgebind import modality as modalities
from edgebind.calibration import emulation, engine, gate
from edgebind.calibration import ranges as ranges_
from edgebind.calibration.batches import Batch, Material, count
from edgebind.calibration.gate import Bars, Comparison
from edgebind.calibration.observers import METHODS
from edgebind.calibration.quantise import Options, Quantised, quantise
from edgebind.calibration.subject import Steps
from edgebind.calibration.windows import enough, finding, material, sets, streaming
from edgebind.calibration.windows import recordings as recordings_
from edgebind.errors import CalibrationError, OptionError
from edgebind.export import findings, half_range, parity
from edgebind.export.findings import REPORT, Files
from edgebind.export.half_range import Hazard
from edgebind.export.original import Original, from_bundle, from_checkpoint, modalities_of, window_of
from edgebind.export.precision import to_fp16
from edgebind.export.workspace import workspace
from edgebind.manifest import Manifest
from edgebind.sources.units import Units

Progress = Callable[[str, str], None]
"""Called with the modality and the stage that begins."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked for."""

    precision: str
    out: Path
    checkpoint: Path | None = None
    """None takes the starter space."""
    modalities: tuple[str, ...] = ()
    """Empty takes all that the source has."""
    calibration: tuple[Path, ...] = ()
    """Recordings; the starter brings its own."""
    bars: Bars | None = None
    """None takes those of the precision."""
    units: Units = field(default_factory=Units)
    """What the user says of the recordings' units."""
    every_window: bool = False
    """Whether ranges are taken from all windows that calibrate, read one by one."""
    attention: str = "float"
    """What attention's own two products are in an INT8 graph for TensorRT: `float` or `int8`."""
    observer: str | None = None
    """Whose ranges are taken for INT8, with no other and no transform tried; None lets measurement choose."""
    ranges: Path | None = None
    """`ranges.json` of an earlier calibration of the same graph, to be used again."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written."""

    folder: Path
    description: Manifest
    comparison: Comparison | None
    """Against FP32; None for FP32 itself."""
    quantised: Quantised | None
    hazards: tuple[Hazard, ...] = ()
    """Tensors that half could not hold: what reads or returns them is in float32."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum((self.folder / name).stat().st_size for name in self.description.files)


def export(
    request: Request, progress: Progress = lambda modality, stage: None, steps: Steps = lambda stage, step, steps: None
) -> Iterator[Exported]:
    """Write one bundle a modality, `<out>/<modality>-<precision>/`, and yield each when it stands.

    A search for the layers that must stay in float keeps what it has measured in `<out>/.<modality>-int8.search`, and goes
    on from there when it is interrupted and run again.

    Parameters
    ----------
    steps: called with the stage, the step that is done and how many there are, where a stage has many.

    Raises
    ------
    OptionError, CheckpointError, CalibrationError, GateError, ParityError, StorageError: one line, nothing half-written.
    """
    check(request)
    request = _with_modalities(request)
    _check_units(request)
    with workspace(request.out) as scratch:
        _require_enough(request, progress)
        for original in _originals(request, scratch, progress):
            told = _Told(original.description.modality, progress, steps)
            yield _export_one(request, original, scratch, told)


def check(request: Request) -> None:
    """Refuse what cannot be done, before anything is loaded.

    Raises
    ------
    OptionError: an unknown precision or modality.
    CalibrationError: INT8 of a checkpoint without recordings, or a recording that does not exist.
    """
    if request.precision not in manifest.PRECISIONS:
        raise OptionError("unknown precision", wanted=" or ".join(manifest.PRECISIONS), got=repr(request.precision))
    for name in request.modalities:
        modalities.get(name)
    for path in request.calibration:
        if not path.exists():
            raise CalibrationError("no such recording", where=path)
    _check_attention(request)
    _check_observer(request)
    _check_ranges(request)
    if material.sets_among(request.calibration) and request.units.given:
        raise OptionError(
            "a calibration set brings its own units", where=request.calibration[0], remedy="leave out --units"
        )
    if len(set(request.modalities)) < len(request.modalities):
        raise OptionError("the same modality twice", got=" ".join(request.modalities))
    if request.checkpoint is None:
        unknown = [name for name in request.modalities if name not in starter.MODALITIES]
        if unknown:
            wanted = " or ".join(starter.MODALITIES)
            raise OptionError(
                "the starter space has no such tower", wanted=wanted, got=unknown[0], remedy="give --checkpoint"
            )
    elif request.precision == "int8" and not request.calibration:
        raise CalibrationError(
            "INT8 needs real recordings to calibrate on; noise is never calibration",
            where=request.checkpoint,
            remedy="give some with --calibration PATH",
        )


def _check_attention(request: Request) -> None:
    if request.attention not in ("float", "int8"):
        raise OptionError("unknown precision of attention", wanted="float or int8", got=repr(request.attention))
    if request.attention == "int8" and request.precision != "int8":
        raise OptionError("--attention int8 is for INT8", wanted="--precision int8", got=request.precision)


def _check_observer(request: Request) -> None:
    if request.observer is None:
        return
    if request.observer not in METHODS:
        raise OptionError("unknown observer", wanted=" or ".join(METHODS), got=repr(request.observer))
    if request.precision != "int8":
        raise OptionError("--observer is for INT8", wanted="--precision int8", got=request.precision)
    if request.ranges is not None:
        raise OptionError("known ranges need no observer", where="--observer", remedy="leave it or --ranges out")


def _check_ranges(request: Request) -> None:
    if request.precision != "int8" and (request.ranges is not None or request.every_window):
        option = "--every-window" if request.ranges is None else "--ranges"
        raise OptionError(f"{option} is for INT8", wanted="--precision int8", got=request.precision)
    if request.ranges is None:
        return
    ranges_.read(request.ranges)
    if request.every_window:
        raise OptionError("known ranges need no windows", where="--every-window", remedy="leave it or --ranges out")
    if len(request.modalities) != 1:
        raise OptionError("ranges are of one encoder", where=request.ranges, wanted="one --modality")


def _with_modalities(request: Request) -> Request:
    """The request with its modalities spelt out, if it brings recordings that must be shared out among them."""
    if not request.calibration:
        return request
    names = request.modalities or (
        starter.MODALITIES if request.checkpoint is None else modalities_of(request.checkpoint)
    )
    sets = material.sets_among(request.calibration)
    for name in names if sets else ():
        material.set_of(name, sets)
    if not sets:  # which would say whose it is
        finding.require_owner(request.calibration, names)
    return replace(request, modalities=names)


def _check_units(request: Request) -> None:
    """Refuse units that no recording would be read in."""
    known = {quantity for name in request.modalities for quantity in request.units.of(name).given}
    idle = [f"{quantity}={unit}" for quantity, unit in request.units.given.items() if quantity not in known]
    if idle:
        wanted = (
            "--calibration PATH with it" if not request.calibration else f"units of {' or '.join(request.modalities)}"
        )
        raise OptionError("--units says nothing about these recordings", wanted=wanted, got=idle[0])


def _require_enough(request: Request, progress: Progress) -> None:
    """Refuse recordings that are too short before anything is exported, which takes minutes of a large tower."""
    if request.precision != "int8" or not request.calibration:
        return
    for name in request.modalities:
        progress(name, "look at recordings")
        spec = sets.default_window(name) if request.checkpoint is None else window_of(request.checkpoint, name)
        enough.require(request.calibration, name, spec, request.modalities, request.units.of(name))


def _originals(request: Request, scratch: Path, progress: Progress) -> Iterator[Original]:
    if request.checkpoint is not None:
        yield from from_checkpoint(request.checkpoint, request.modalities, scratch, progress)
        return
    for name in request.modalities or starter.MODALITIES:
        progress(name, "starter encoder")
        yield from_bundle(starter.folder(name, "fp32"))


@dataclass(frozen=True, slots=True)
class _Told:
    """Whom the work on one tower tells how it goes."""

    modality: str
    progress: Progress
    steps: Steps

    def __call__(self, stage: str) -> None:
        self.progress(self.modality, stage)

    def step(self, stage: str, step: int, steps: int) -> None:
        self.steps(f"{self.modality}: {stage}", step, steps)


def _export_one(request: Request, original: Original, scratch: Path, told: _Told) -> Exported:
    name = original.description.modality
    folder = scratch / f"{name}-{request.precision}"
    folder.mkdir()
    windows = _windows(request, original, told)
    make = {"fp32": _fp32, "fp16": _fp16, "int8": _int8}[request.precision]
    hazards = _hazards(request, original, windows, told)
    files, description, comparison, quantised = make(request, original, windows, hazards, folder, told)
    files |= findings.reference_file(original, windows, files, folder, told)
    files |= findings.page(original, windows, files, description, folder, told)
    if len(original.bank):
        original.bank.to_npz(folder / bundle.LABELS)
        files[bundle.LABELS] = folder / bundle.LABELS
    target = request.out / folder.name
    told(f"write {target}")
    description = bundle.write(target, _with_provenance(description, original, request), files)
    return Exported(target, description, comparison, quantised, hazards)


Made = tuple[Files, Manifest, Comparison | None, Quantised | None]
Stage = Callable[[str], None]


def _windows(request: Request, original: Original, stage: Stage) -> Material:
    """Real recordings if there are any; to judge FP16 something must be found, and FP32 needs none."""
    if request.checkpoint is None or request.calibration:
        return _material(request, original, stage)
    if request.precision == "fp32":
        return Material([], [])
    shape, dtype = _input_of(original)
    synthetic = Batch("synthetic signals", parity.example(shape, dtype, batch=8))
    return Material([], [synthetic], kind="synthetic signals")


def _hazards(request: Request, original: Original, windows: Material, stage: Stage) -> tuple[Hazard, ...]:
    """What half cannot hold, on the windows that calibrate, or on those there are."""
    if request.precision == "fp32":
        return ()
    stage("what half cannot hold")
    return tuple(half_range.find(original.graph, windows.calibration or windows.held_out))


Hazards = tuple[Hazard, ...]


def _fp32(
    request: Request, original: Original, windows: Material, hazards: Hazards, folder: Path, stage: _Told
) -> Made:
    files: Files = {bundle.ENCODER: original.graph}
    data = original.graph.with_name(original.graph.name + ".data")
    if data.exists():
        files[data.name] = data
    return files, original.description, None, None


def _fp16(
    request: Request, original: Original, windows: Material, hazards: Hazards, folder: Path, stage: _Told
) -> Made:
    stage("FP16 graph")
    graph = folder / bundle.ENCODER
    in_float = to_fp16(original.graph, graph, half_range.nodes(hazards))
    batches = windows.held_out
    stage(f"gate on {count(batches)} windows")
    reference = engine.embed(original.graph, batches, optimise=True)
    comparison = gate.compare(reference, emulation.embed(graph, batches), original.bank)
    gate.require(comparison, request.bars or gate.FP16, "FP16", remedy="use --precision fp32, or ask for less")
    numbers = {**comparison.to_dict(), "judged_on": windows.kind, "products_in_float32": in_float}
    description = replace(original.description, precision="fp16", gate=numbers)
    report = {"gate": numbers, half_range.KEY: half_range.to_report(hazards)}
    return {bundle.ENCODER: graph, REPORT: _json(report)}, description, comparison, None


def _json(report: Mapping[str, Any]) -> bytes:
    return utf8.encoded(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def _input_of(original: Original) -> tuple[tuple[int, ...], str]:
    from edgebind.calibration.graph import Graph

    tensor = Graph.read(original.graph).model.graph.input[0].type.tensor_type
    return tuple(d.dim_value for d in tensor.shape.dim[1:]), "int64" if tensor.elem_type == 7 else "float32"


def _int8(
    request: Request, original: Original, windows: Material, hazards: Hazards, folder: Path, stage: _Told
) -> Made:
    options = Options(
        bars=request.bars or gate.INT8,
        aim=request.bars or gate.INT8_AIM,  # what a user states is what is wanted: no layer is returned beyond it
        attention=request.attention == "int8",
        observer=request.observer,
        ranges=_known_ranges(request, original),
        to_half=partial(to_fp16, keep=half_range.nodes(hazards)),
    )
    made = quantise(
        original.graph,
        windows,
        options,
        bank=original.bank,
        scratch=folder,
        state=request.out / f".{stage.modality}-int8.search",
        progress=stage,
        steps=stage.step,
    )
    files: Files = {
        **made.files,
        ranges_.FILE: made.ranges.to_json().encode(),
        REPORT: _json({**made.report, half_range.KEY: half_range.to_report(hazards)}),
    }
    description = replace(original.description, precision="int8", gate=_summary(made))
    return files, description, made.least, made


def _summary(made: Quantised) -> dict[str, Any]:
    """What the manifest says of the gate; `report.json` has the rest."""
    return {
        **made.least.to_dict(),
        "observer": made.ranges.method,
        "layers_in_float": list(made.kept),
        "int8_mac_share": round(made.mac_share, 4),
        "attention": made.report["attention"],
        "remainder": made.remainder,
        "speed_ratio_to_fp32": made.speed.ratio,
        "cpu": made.speed.cpu,
    }


def _known_ranges(request: Request, original: Original) -> ranges_.Ranges | None:
    """The ranges that the user brings, refused if they are another graph's."""
    if request.ranges is None:
        return None
    found = ranges_.read(request.ranges)
    found.require_graph(original.graph)
    return found


def _material(request: Request, original: Original, stage: Stage) -> Material:
    """The user's recordings or calibration set, or the two sets the starter ships."""
    stage("read recordings")
    description = original.description
    if request.calibration:
        units = request.units.of(description.modality)
        every = request.every_window
        return material.of_recordings(request.calibration, description, request.modalities, units, every_window=every)
    folders = [starter.RECORDINGS / part / description.modality for part in ("calibration", "gate")]
    read, judged = (recordings_.read([folder], description) for folder in folders)
    observed = streaming.whole([folders[0]], description) if request.every_window else None
    return Material([r.batch() for r in read], [r.batch() for r in judged], observed)


def _with_provenance(description: Manifest, original: Original, request: Request) -> Manifest:
    packages = ("onnx", "onnxsim", "onnxruntime", *(("torch",) if request.checkpoint is not None else ()))
    versions = {"edgebind": __version__, **{name: importlib.metadata.version(name) for name in packages}}
    # A bundle carries its weights' history; what this conversion adds stands beside it.
    source = "the starter space's FP32 bundle" if request.checkpoint is None else request.checkpoint.name
    added = {"exported_from": source, "fp32_sha256": ranges_.fingerprint(original.graph), "export_versions": versions}
    return replace(description, provenance={**original.description.provenance, **added})
