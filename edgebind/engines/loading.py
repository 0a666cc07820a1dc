"""An engine file -> an engine on the GPU. Host code inside engines is refused, and a plan that TensorRT refuses is rebuilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebind import bundle
from edgebind.engines import EngineFile, pixels, store
from edgebind.engines.builder import one_line, ran_out_of_memory
from edgebind.engines.flavour import Flavour, Say, silent
from edgebind.engines.pixels import Front
from edgebind.engines.watch import listening
from edgebind.errors import BackendError
from edgebind.preprocess.tail import Tail

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as trt


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine that TensorRT accepted. The runtime and the logger must live as long as the engine does."""

    engine: Any
    """`trt.ICudaEngine`."""
    file: EngineFile
    runtime: Any
    logger: Any


def load(
    get: Callable[[], EngineFile], flavour: Flavour, folder: Path, *, tail: Tail | None = None, say: Say = silent
) -> Loaded:
    """Put an engine onto the GPU whose context is current.

    Parameters
    ----------
    get: finds or builds the file, as `edgebind.engines.engine_for` does; called again if TensorRT refuses what it found.
    folder: the bundle, whose graph gives a stripped engine its weights back.
    tail: of its preprocessing, for an engine that does it.

    Raises
    ------
    MissingDependencyError: no driver, or one that is too old.
    BackendError: the GPU's memory is full, or TensorRT refuses an engine that it has just built.
    """
    flavour.require_driver()  # without one TensorRT's objects are broken, and the next call can crash the process
    file, source = get(), _Source(folder / bundle.ENCODER, tail)
    loaded, complaints = _deserialise(file, flavour, source)
    if loaded is None and not file.built and not ran_out_of_memory(complaints):
        say(f"{file.path.name}: {flavour} refuses it ({one_line(complaints)}); building it again")
        store.forget(file.path)
        file = get()
        loaded, complaints = _deserialise(file, flavour, source)
    if loaded is None:
        raise _refused(file, flavour, complaints)
    return loaded


@dataclass(frozen=True, slots=True)
class _Source:
    """What an engine was built from."""

    path: Path
    tail: Tail | None
    """Of the preprocessing, whether the engine does it or not."""


def _deserialise(file: EngineFile, flavour: Flavour, source: _Source) -> tuple[Loaded | None, list[str]]:
    """(what was loaded, or None; what TensorRT complained of)."""
    with listening(flavour) as (logger, complaints):
        runtime = flavour.trt.Runtime(logger)
        engine = _engine(runtime, file, flavour, logger, source)
    return (None if engine is None else Loaded(engine, file, runtime, logger)), complaints


def _engine(runtime: trt.Runtime, file: EngineFile, flavour: Flavour, logger: Any, source: _Source) -> Any:
    """The engine with all its weights, or None."""
    options = file.key.options
    runtime.engine_host_code_allowed = False
    if options.dla is not None:
        runtime.DLA_core = options.dla
    engine = runtime.deserialize_cuda_engine(file.path.read_bytes())
    if engine is not None and options.strip_weights and not _refit(engine, file, flavour, logger, source):
        return None
    return engine


def _refit(engine: trt.ICudaEngine, file: EngineFile, flavour: Flavour, logger: Any, source: _Source) -> bool:
    """Give a stripped engine its weights back, from the graph it was built from."""
    trt, path = flavour.trt, str(source.path)
    refitter = trt.Refitter(engine, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    if not file.key.pixels or source.tail is None:
        read = parser.refit_from_file(path)
    else:
        front = Front(source.tail, file.key.size)
        read = parser.refit_from_bytes(pixels.in_front_of(source.path, front), path)
    return bool(read and refitter.refit_cuda_engine())


def _refused(file: EngineFile, flavour: Flavour, complaints: list[str]) -> BackendError:
    if ran_out_of_memory(complaints):
        return BackendError(
            "the GPU has too little memory for this engine",
            where=file.path,
            remedy="close what else uses the GPU, or export a smaller encoder or precision",
        )
    return BackendError(f"{flavour} refuses an engine of its own: {one_line(complaints)}", where=file.path)
