"""A GPU that does nothing until somebody waits for it, and then only what the order of streams and events compels it to.

Work that is not waited for, a buffer that is overwritten too early, or an output that is read too soon comes out as a
wrong vector here, every time; on a real GPU it does so once in a while.
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgebind.engines import EngineFile, EngineKey, Flavour, Profile
from edgebind.engines.loading import Loaded
from edgebind.errors import BackendError

Work = Callable[[], None]
_addresses = itertools.count(1 << 20, 1 << 20)
_handles = itertools.count(1)


@dataclass(eq=False)
class Stream:
    gpu: LazyGpu
    queue: deque[Work] = field(default_factory=deque)
    handle: int = field(default_factory=lambda: next(_handles))

    def put(self, work: Work) -> None:
        (self.gpu.captured if self.gpu.captured is not None else self.queue).append(work)


@dataclass(eq=False)
class Event:
    come: Work = lambda: None
    """Runs what must be done before it has come."""


class Memory:
    """Bytes of the GPU that are gone when nothing refers to them."""

    def __init__(self, gpu: LazyGpu, size: int) -> None:
        self.address = next(_addresses)
        gpu.bytes[self.address] = np.full(max(1, size), 0xFF, np.uint8)  # as floats: no numbers
        weakref.finalize(self, gpu.bytes.pop, self.address)

    def __int__(self) -> int:
        return self.address


class LazyGpu:
    """Does what `edgebind.backends.gpu.Gpu` promises, as late as it may."""

    def __init__(self, *, has_graphs: bool = True, breaks_after: int | None = None) -> None:
        self.has_graphs = has_graphs
        self.bytes: dict[int, NDArray[np.uint8]] = {}
        self.streams: list[weakref.ref[Stream]] = []
        self.captured: deque[Work] | None = None
        self.calls: list[str] = []
        """Names of what was asked for, in order."""
        self.depth = 0
        self.is_closed = False
        self.graphs = 0
        """That were captured and not given back."""
        self._left = breaks_after

    def _called(self, name: str) -> None:
        assert self.depth, f"{name} outside of a context"
        self.calls.append(name)
        if self._left is not None and name != "finish":
            self._left -= 1
            if self._left < 0:
                raise BackendError("CUDA fails: cuda error")

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        assert not self.is_closed
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def stream(self) -> Stream:
        stream = Stream(self)
        self.streams.append(weakref.ref(stream))
        return stream

    def by_handle(self, handle: int) -> Stream:
        return next(stream for ref in self.streams if (stream := ref()) is not None and stream.handle == handle)

    def handle(self, stream: Stream) -> int:
        return stream.handle

    def event(self) -> Event:
        return Event()

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        return np.zeros(shape, dtype)

    def memory(self, size: int) -> Memory:
        return Memory(self, size)

    def copy_in(self, target: Memory, source: NDArray[Any], stream: Stream) -> None:
        self._called("copy in")
        assert source.flags.c_contiguous
        place = self.bytes[int(target)]
        stream.put(lambda: place.__setitem__(slice(source.nbytes), source.view(np.uint8).ravel()))

    def copy_out(self, target: NDArray[Any], source: Memory, stream: Stream) -> None:
        self._called("copy out")
        assert target.flags.c_contiguous
        place = self.bytes[int(source)]
        stream.put(lambda: target.view(np.uint8).reshape(-1).__setitem__(slice(None), place[: target.nbytes]))

    def record(self, event: Event, stream: Stream) -> None:
        self._called("record")
        reached: list[bool] = []
        stream.put(lambda: reached.append(True))

        def come() -> None:
            while not reached:
                stream.queue.popleft()()

        event.come = come

    def wait(self, stream: Stream, event: Event) -> None:
        self._called("wait")
        stream.put(event.come)

    def finish(self, awaited: Stream | Event) -> None:
        self._called("finish")
        if isinstance(awaited, Event):
            awaited.come()
            return
        while awaited.queue:
            awaited.queue.popleft()()

    def capture(self, stream: Stream, work: Callable[[], None]) -> deque[Work]:
        self._called("capture")
        self.captured = deque()
        try:
            work()
            self.graphs += 1
            return self.captured
        finally:
            self.captured = None

    def replay(self, graph: deque[Work], stream: Stream) -> None:
        self._called("replay")
        stream.queue.extend(graph)

    def free(self, graph: deque[Work]) -> None:
        self.graphs -= 1

    def milliseconds(self, stream: Stream, work: Callable[[], None]) -> float:
        work()
        work()
        self.finish(stream)
        return 1.0

    def copy_within(self, target: Memory, source: Memory, size: int, stream: Stream) -> None:
        self._called("copy within")
        into, place = self.bytes[int(target)], self.bytes[int(source)]
        stream.put(lambda: into.__setitem__(slice(size), place[:size]))

    def close(self) -> None:
        self.is_closed = True


SHAPE, DIM = (2, 3), 4
WEIGHTS = np.random.default_rng(0).normal(size=(6, DIM)).astype(np.float32)


def oracle(value: NDArray[Any]) -> NDArray[np.float32]:
    """What the engine computes."""
    raw = value.reshape(len(value), -1).astype(np.float32) @ WEIGHTS
    with np.errstate(all="ignore"):  # what was never copied in is no number
        return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


class Context:
    """`trt.IExecutionContext`, as strict as TensorRT's guide is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._count = 0
        self._places: dict[str, int] = {}
        self._scratch = 0
        self._is_prepared = False

    def set_device_memory(self, memory: int, size: int) -> None:
        assert size == self._engine.device_memory_size_v2
        self._scratch = memory

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        return 0 <= profile_index < self._engine.profiles

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._count = shape[0]
        return name == "input" and shape[1:] == SHAPE

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._places[name] = memory
        return name in ("input", "embedding")

    def execute_async_v3(self, stream_handle: int) -> bool:
        gpu = self._engine.gpu
        gpu._called("execute")
        assert set(self._places) == {"input", "embedding"} and self._scratch in gpu.bytes
        if gpu.captured is not None and (not self._is_prepared or not self._engine.can_be_captured):
            return False  # what a context prepares in its first run cannot be captured
        self._is_prepared = True
        source, target = gpu.bytes[self._places["input"]], gpu.bytes[self._places["embedding"]]
        count, of = self._count, np.dtype(np.uint8 if self._engine.kind == "UINT8" else np.float32)

        def run() -> None:
            value = source[: count * 6 * of.itemsize].view(of).reshape(count, *SHAPE)
            target[: count * 16] = oracle(value).view(np.uint8).ravel()

        gpu.by_handle(stream_handle).put(run)
        return True


class RuntimeCache:
    """`trt.IRuntimeCache`: the kernels are numbers of contexts."""

    def __init__(self) -> None:
        self.kernels = bytearray()

    def deserialize(self, blob: bytes) -> bool:
        self.kernels += blob
        return True

    def serialize(self) -> bytes:
        return bytes(self.kernels)


class RuntimeConfig:
    """`trt.IRuntimeConfig` of TensorRT-RTX."""

    def __init__(self) -> None:
        self.strategy = ""
        self.dynamic_shapes_kernel_specialization_strategy = "lazy"
        self._cache: RuntimeCache | None = None

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self._cache = cache
        return True

    def compile(self, number: int) -> None:
        assert self._cache is not None
        assert self.dynamic_shapes_kernel_specialization_strategy == "eager", "a graph would keep the slower kernels"
        if number not in self._cache.kernels:
            self._cache.kernels.append(number)


@dataclass(eq=False)
class Engine:
    """`trt.ICudaEngine` of the oracle."""

    gpu: LazyGpu
    profiles: int = 1
    inputs: tuple[str, ...] = ("input",)
    can_be_captured: bool = True
    device_memory_size_v2: int = 64
    contexts: int = 0
    kind: str = "FLOAT"
    dim: int = DIM

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + 1

    def get_tensor_name(self, index: int) -> str:
        return (*self.inputs, "embedding")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.inputs else "out"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *SHAPE) if name in self.inputs else (-1, self.dim)

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.kind if name in self.inputs else "FLOAT")

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, strategy: str | RuntimeConfig) -> Context:
        self.contexts += 1
        if isinstance(strategy, RuntimeConfig):
            strategy.compile(self.contexts)
            strategy = strategy.strategy
        assert strategy == "user"
        return Context(self)


FLAVOUR = Flavour(
    "tensorrt",
    "10.3.0",
    SimpleNamespace(
        TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user"),
    ),
)


RTX = Flavour(
    "rtx",
    "1.7.1",
    SimpleNamespace(
        **vars(FLAVOUR.trt), DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager", LAZY="lazy")
    ),
)


def loaded(engine: Engine, *profiles: Profile) -> Loaded:
    """The engine as if it had just been read from a file."""
    pixels = "a digest" if engine.kind == "UINT8" else ""
    key: Any = SimpleNamespace(profiles=profiles or (Profile(1, 1, 4),), pixels=pixels, size=None)
    checked_key: EngineKey = key
    return Loaded(engine, EngineFile(Path("e.engine"), checked_key, True, "new", 1.5), None, None)
