"""Graph -> engine: one path for TensorRT 10.3 to 11 and TensorRT-RTX.

The network is strongly typed: what is computed in FP16 or INT8 stands in the graph as casts and Q/DQ pairs, and the builder
only compiles. No calibrator, no precision flag: TensorRT 11 has neither.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebind import cuda, utf8
from edgebind.cuda import Device, Sm
from edgebind.engines import pixels, timing
from edgebind.engines.flavour import Flavour, Progress, Say, silent, unseen
from edgebind.engines.key import Options, Profile
from edgebind.engines.pixels import Front
from edgebind.engines.watch import Interruption, deferred_signals, listening, monitor, printing_to_stderr
from edgebind.errors import BackendError, MissingDependencyError, OptionError

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as trt

_MIB = 1 << 20
_LONGEST = 300
"""Characters of TensorRT's own complaint that are shown."""


@dataclass(frozen=True, slots=True)
class Job:
    """One engine to build."""

    graph: Path
    """`encoder.onnx`; weights in files beside it are found there."""
    flavour: Flavour
    profiles: tuple[Profile, ...]
    sms: tuple[Sm, ...]
    """Compute capabilities to build for."""
    options: Options = field(default_factory=Options)
    device: Device | None = None
    """The GPU at hand; None builds without one."""
    precision: str = "fp32"
    timing: Path | None = None
    """File of measured times; None measures anew and keeps nothing."""
    front: Front | None = None
    """What the engine does to 8-bit pixels before the encoder; None builds the graph as it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A serialised engine."""

    data: bytes
    seconds: float


def build(job: Job, *, progress: Progress = unseen, say: Say = silent) -> Plan:
    """Compile `job.graph`. Takes seconds to minutes; Ctrl-C stops it at the builder's next step.

    Raises
    ------
    OptionError: an option that this flavour, release or GPU does not have.
    MissingDependencyError: it needs a GPU and there is no driver, or one that is too old.
    BundleError: the graph takes something else than `job.front` makes.
    BackendError: TensorRT cannot read the graph, cannot build it, or ran out of memory.
    KeyboardInterrupt: it was interrupted.
    """
    check(job)
    with deferred_signals() as interruption, printing_to_stderr(), listening(job.flavour) as (logger, complaints):
        plan = _compile(job, progress, say, interruption, logger, complaints)
    if plan is None:
        raise _refused(job, complaints)
    return plan


def check(job: Job) -> None:
    """Refuse what cannot be built here, before anything is loaded.

    Raises
    ------
    OptionError, MissingDependencyError: see `build`.
    """
    utf8.require(job.graph)
    _check_target(job)
    if not job.flavour.builds_without_gpu:
        job.flavour.require_driver()
    if job.options.strip_weights and not cuda.driver().is_there:
        raise MissingDependencyError(
            "an engine without weights is built with a GPU only", where="--strip-weights", got=str(cuda.driver())
        )
    if job.flavour.name == "rtx":
        _refuse_for_rtx(job)
    if job.options.dla is not None:
        _check_dla(job)
    if job.options.tf32 and job.front is not None and job.front.frame is not None:
        raise OptionError("TF32 would round the grey levels of frames that are resized", where="--tf32")


def _check_dla(job: Job) -> None:
    """What NVIDIA's list of the DLA's restrictions says of every layer; without this the GPU would take them all, unasked."""
    if job.precision == "fp32":
        raise OptionError(
            "the DLA computes in FP16 and INT8",
            where="--dla",
            got="an FP32 bundle",
            remedy="export with --precision fp16",
        )
    ranges = [str(profile) for profile in job.profiles if profile.min != profile.max]
    if ranges:
        raise OptionError("the DLA takes exact batch sizes only", where="--dla", got=ranges[0], remedy="say --batch 1")


def _check_target(job: Job) -> None:
    if job.flavour.builds_without_gpu:
        known = job.flavour.targets
        unknown = [sm for sm in job.sms if sm not in known]
        if unknown:
            wanted = ", ".join(target_name(sm) for sm in known)
            remedy = (
                "build on the device, with the TensorRT that its JetPack brings" if unknown[0] in _JETSONS else None
            )
            raise OptionError(
                f"{job.flavour} does not build for this GPU", wanted=wanted, got=target_name(unknown[0]), remedy=remedy
            )
    elif job.device is not None and job.sms != (job.device.sm,):
        raise OptionError(
            f"{job.flavour} builds for the GPU it runs on, and no other",
            wanted=target_name(job.device.sm),
            got=", ".join(target_name(sm) for sm in job.sms),
            remedy="leave --target out, or take --flavour rtx",
        )


_JETSONS = ((7, 2), (8, 7), (11, 0))
"""Xavier, Orin, Thor."""


def target_name(sm: Sm) -> str:
    """(8, 6) -> `sm_86`, as CUDA's own tools write it."""
    return f"sm_{sm[0]}{sm[1]}"


def _refuse_for_rtx(job: Job) -> None:
    options = job.options
    if options.version_compatible:
        raise OptionError("an engine of TensorRT-RTX runs on its own release only", where="--version-compatible")
    if options.hardware_compatible:
        raise OptionError(
            "TensorRT-RTX takes a list of GPUs instead", where="--hardware-compatible", remedy="repeat --target"
        )
    if options.dla is not None:
        raise OptionError("TensorRT-RTX has no DLA", where="--dla")


def _compile(
    job: Job, progress: Progress, say: Say, interruption: Interruption, logger: Any, complaints: list[str]
) -> Plan | None:
    """The plan, or None and `complaints` say why. Every object of TensorRT lives and dies in here."""
    trt = job.flavour.trt
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not _parse(parser, job):
        complaints.insert(0, _parser_complaint(parser))
        return None
    config = builder.create_builder_config()
    watching = monitor(job.flavour, progress, interruption)  # held, because the builder only points at it
    config.progress_monitor = watching
    _set_options(config, builder, job)
    _set_targets(config, job)
    _leave_memory_to_the_caller(config, job)
    _add_profiles(config, builder, network, job)
    if job.timing is not None:
        timing.use(config, job.timing, say)
    complaints.clear()  # what was said so far was dealt with
    began = time.perf_counter()
    memory = builder.build_serialized_network(network, config)
    if memory is None:
        return None
    if job.timing is not None:
        timing.keep(config, job.timing)
    return Plan(bytes(memory), time.perf_counter() - began)


def _parse(parser: trt.OnnxParser, job: Job) -> bool:
    if job.front is None:
        return bool(parser.parse_from_file(str(job.graph)))
    return bool(parser.parse(pixels.in_front_of(job.graph, job.front), str(job.graph)))


def _parser_complaint(parser: trt.OnnxParser) -> str:
    if not parser.num_errors:
        return "the graph cannot be read"
    error = parser.get_error(0)
    place = f" at {error.node_operator()} {error.node_name()!r}" if error.node() >= 0 else ""
    return f"the graph cannot be read{place}: {error.desc()}"


def _set_options(config: trt.IBuilderConfig, builder: trt.Builder, job: Job) -> None:
    trt, options = job.flavour.trt, job.options
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace * _MIB)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        # The lean runtime inside an engine is host code, and host code in an engine is never run.
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.strip_weights:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)  # the graph's own weights come back, never others
    if options.dla is not None:
        _use_dla(config, builder, job, options.dla)


def _use_dla(config: trt.IBuilderConfig, builder: trt.Builder, job: Job, core: int) -> None:
    """Give layers to the DLA, and those it cannot run to the GPU."""
    trt, cores = job.flavour.trt, builder.num_DLA_cores
    if core >= cores:
        raise OptionError(
            f"no such DLA core to {job.flavour} on {job.device}",
            where="--dla",
            wanted=f"less than {cores}" if cores else "a Jetson with a DLA, and a TensorRT that serves it (up to 10.7)",
            got=core,
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _set_targets(config: trt.IBuilderConfig, job: Job) -> None:
    if not hasattr(config, "set_compute_capability"):
        return
    trt = job.flavour.trt
    config.num_compute_capabilities = len(job.sms)
    for place, (major, minor) in enumerate(job.sms):
        wanted = trt.ComputeCapability(major * 10 + minor)
        # One that it does not like is refused without an error, and would leave an engine for no GPU at all.
        if not config.set_compute_capability(wanted, place) or config.get_compute_capability(place) != wanted:
            raise OptionError(f"{job.flavour} does not build for this GPU", got=target_name((major, minor)))


def _leave_memory_to_the_caller(config: trt.IBuilderConfig, job: Job) -> None:
    """TensorRT-RTX might else allocate while it runs, which no CUDA graph can hold."""
    trt = job.flavour.trt
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


def _add_profiles(config: trt.IBuilderConfig, builder: trt.Builder, network: trt.INetworkDefinition, job: Job) -> None:
    shape = _input_shape(network, job.graph)
    name = network.get_input(0).name
    for profile in job.profiles:
        ranges = builder.create_optimization_profile()
        ranges.set_shape(name, *((batch, *shape) for batch in (profile.min, profile.opt, profile.max)))
        if config.add_optimization_profile(ranges) < 0:
            raise BackendError("TensorRT refuses these batch sizes", where=job.graph, got=str(profile))


def _input_shape(network: trt.INetworkDefinition, graph: Path) -> tuple[int, ...]:
    """What one window is to the graph: the input's shape without the batch."""
    if network.num_inputs != 1 or network.num_outputs != 1:
        got = f"{network.num_inputs}, {network.num_outputs}"
        raise BackendError("not an encoder", where=graph, wanted="1 input, 1 output", got=got)
    batch, *shape = (int(size) for size in network.get_input(0).shape)
    if batch != -1 or min(shape, default=1) < 1:
        raise BackendError(
            "the encoder's input does not fit", where=graph, wanted="any batch of one fixed shape", got=(batch, *shape)
        )
    return tuple(shape)


def _refused(job: Job, complaints: Sequence[str]) -> BackendError:
    if ran_out_of_memory(complaints):
        return BackendError(
            f"the GPU has too little memory for {job.flavour} to build it",
            where=job.graph,
            remedy="close what else uses the GPU, ask for smaller batches, or bound --workspace",
        )
    return BackendError(f"{job.flavour} cannot build it: {one_line(complaints)}", where=job.graph)


def ran_out_of_memory(complaints: Sequence[str]) -> bool:
    """Whether TensorRT complained of too little memory, in any of its ways to say so."""
    return re.search(r"out ?of ?memory|could not be allocated", " ".join(complaints), re.IGNORECASE) is not None


def one_line(complaints: Sequence[str]) -> str:
    """What TensorRT said first, without its line breaks."""
    return " ".join(complaints[0].split())[:_LONGEST] if complaints else "it gave no reason"
