"""Execution contexts of an engine, which use scratch memory that the caller gives them.

The full TensorRT's builder compiled every kernel. TensorRT-RTX compiles them for the GPU at hand when a context first sees a
batch size: at once, because a CUDA graph that is captured after the first call would else keep the slower kernels that stand
in meanwhile. What it compiled is kept beside the engine, so that the next process finds it:

    <16 digits of the key>.kernels    sha256 of what follows, and TensorRT-RTX's runtime cache
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebind import atomic
from edgebind.engines.flavour import Flavour
from edgebind.errors import StorageError

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as trt

_DIGEST = hashlib.sha256().digest_size


class Contexts:
    """Makes the contexts of one engine; must live until they are gone. The GPU's context is current in every call."""

    def __init__(self, flavour: Flavour, engine: trt.ICudaEngine, plan: Path) -> None:
        """`plan`: the engine's file."""
        self._engine, self._kernels = engine, plan.with_suffix(".kernels")
        self._strategy = flavour.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._read = b""
        self._config: Any = None
        self._cache: Any = None
        self._compile_at_once(flavour, engine)

    def _compile_at_once(self, flavour: Flavour, engine: trt.ICudaEngine) -> None:
        """TensorRT-RTX's settings for new contexts, and what was compiled before; the full TensorRT has neither."""
        trt = flavour.trt
        if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            return
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(self._strategy)
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        cache = config.create_runtime_cache()
        self._read = _whole(self._kernels)
        if self._read:
            cache.deserialize(self._read)  # of another GPU, driver or release: it says no, and compiles
        self._config, self._cache = config, cache if config.set_runtime_cache(cache) else None

    def make(self) -> trt.IExecutionContext | None:
        """A new one; None where TensorRT cannot make it."""
        engine: trt.ICudaEngine = self._engine
        return engine.create_execution_context(self._strategy if self._config is None else self._config)

    def keep(self) -> None:
        """Write what was compiled, if it is more than was read. A disk that is full costs the next process a compilation, and nothing else."""
        if self._cache is None:
            return
        memory = self._cache.serialize()
        compiled = self._read if memory is None else bytes(memory)
        if compiled != self._read:
            with contextlib.suppress(StorageError), atomic.file(self._kernels) as scratch:
                scratch.write_bytes(hashlib.sha256(compiled).digest() + compiled)


def _whole(path: Path) -> bytes:
    """What `Contexts.keep` wrote; empty where it is not there, or was altered."""
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    return data[_DIGEST:] if hashlib.sha256(data[_DIGEST:]).digest() == data[:_DIGEST] else b""
