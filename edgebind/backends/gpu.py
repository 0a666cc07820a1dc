"""The calls of CUDA that the TensorRT backend makes, each one thin: pycuda for memory, streams and events, cuda-bindings for graphs.

    Gpu          what a backend asks for
    PycudaGpu    the same, of a real GPU

Everything on one GPU happens in its primary context, which engines, ONNX Runtime and PyTorch in one process share. It is
current only inside of `with gpu.current()`, so that no thread is left with a context on its stack: pycuda ends the process
if one is left there when Python goes.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgebind import cuda, extras
from edgebind.errors import BackendError, MissingDependencyError

Stream = Any
Event = Any
Graph = Any
Memory = Any
"""Opaque; `int(memory)` is its address on the GPU."""


_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING, which pycuda has no name for: the stream does not wait for the one that all share."""


class Gpu(Protocol):
    """One GPU. But for `current` and `close`, every call is made inside of `with gpu.current()`."""

    has_graphs: bool
    """Whether work can be captured and replayed."""

    def current(self) -> contextlib.AbstractContextManager[None]:
        """Its primary context is this thread's while the block lasts; may be nested."""
        ...

    def stream(self) -> Stream: ...

    def handle(self, stream: Stream) -> int:
        """What TensorRT calls it by."""
        ...

    def event(self) -> Event: ...

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Host memory that the GPU copies from and to by itself."""
        ...

    def memory(self, size: int) -> Memory:
        """`size` bytes of the GPU's own; freed when nothing refers to it."""
        ...

    def copy_in(self, target: Memory, source: NDArray[Any], stream: Stream) -> None:
        """Pinned host memory -> GPU; returns at once."""
        ...

    def copy_out(self, target: NDArray[Any], source: Memory, stream: Stream) -> None:
        """GPU -> pinned host memory; returns at once."""
        ...

    def record(self, event: Event, stream: Stream) -> None:
        """The event comes when everything that was put into the stream before is done."""
        ...

    def wait(self, stream: Stream, event: Event) -> None:
        """What is put into the stream from now on begins after the event; returns at once."""
        ...

    def finish(self, awaited: Stream | Event) -> None:
        """Block until all work of a stream is done, or an event has come."""
        ...

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """What `work` puts into the stream, kept for replay and not done."""
        ...

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Put everything that was captured into the stream with one call."""
        ...

    def free(self, graph: Graph) -> None:
        """Give a captured graph back."""
        ...

    def milliseconds(self, stream: Stream, work: Callable[[], None]) -> float:
        """How long the GPU itself is busy with what `work` puts into the stream; it is put there twice, and the second is timed."""
        ...

    def copy_within(self, target: Memory, source: Memory, size: int, stream: Stream) -> None:
        """GPU -> GPU, so many bytes; returns at once."""
        ...

    def close(self) -> None:
        """Nothing will be asked any more; calling it twice is harmless."""
        ...


class PycudaGpu:
    """A real GPU."""

    def __init__(self, index: int = 0) -> None:
        """Take part in its primary context.

        Raises
        ------
        MissingDependencyError: no driver, no pycuda, or no such GPU.
        BackendError: CUDA fails.
        """
        reason = missing()
        if reason:
            raise MissingDependencyError(reason, remedy=remedy())
        self._cuda = importlib.import_module("pycuda.driver")
        self._graphs = _graph_calls()
        self.has_graphs = self._graphs is not None
        with self._failures():
            self._context = _primary_context(index)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        with self._failures():
            self._context.push()
        try:
            with self._failures():
                yield
        finally:
            self._cuda.Context.pop()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """What pycuda raises comes out as one clear line."""
        try:
            yield
        except self._cuda.MemoryError as error:
            advice = "close what else uses the GPU, or embed fewer windows in a call"
            raise BackendError("the GPU's memory is full", got=str(error), remedy=advice) from error
        except self._cuda.Error as error:
            raise BackendError(f"CUDA fails: {error}", remedy="see `edgebind doctor`") from error

    def stream(self) -> Stream:
        return self._cuda.Stream(_NON_BLOCKING)

    def handle(self, stream: Stream) -> int:
        return int(stream.handle)

    def event(self) -> Event:
        return self._cuda.Event(self._cuda.event_flags.DISABLE_TIMING)

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        return self._cuda.pagelocked_empty(shape, np.dtype(dtype))

    def memory(self, size: int) -> Memory:
        return self._cuda.mem_alloc(max(1, size))

    def copy_in(self, target: Memory, source: NDArray[Any], stream: Stream) -> None:
        self._cuda.memcpy_htod_async(target, source, stream)

    def copy_out(self, target: NDArray[Any], source: Memory, stream: Stream) -> None:
        self._cuda.memcpy_dtoh_async(target, source, stream)

    def record(self, event: Event, stream: Stream) -> None:
        event.record(stream)

    def wait(self, stream: Stream, event: Event) -> None:
        stream.wait_for_event(event)

    def finish(self, awaited: Stream | Event) -> None:
        with self._failures():
            awaited.synchronize()

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        calls, handle = self._graphs, self._graphs.CUstream(self.handle(stream))
        # Of this thread alone: other threads may allocate meanwhile, which a global capture would forbid.
        mode = calls.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _checked(calls.cuStreamBeginCapture(handle, mode))
        try:
            with self._failures():
                work()
        except BaseException:
            _, graph = calls.cuStreamEndCapture(handle)  # else the stream stays unusable
            calls.cuGraphDestroy(graph)
            raise
        graph = _checked(calls.cuStreamEndCapture(handle))
        try:
            return _checked(calls.cuGraphInstantiate(graph, 0))
        finally:
            calls.cuGraphDestroy(graph)

    def replay(self, graph: Graph, stream: Stream) -> None:
        _checked(self._graphs.cuGraphLaunch(graph, self._graphs.CUstream(self.handle(stream))))

    def free(self, graph: Graph) -> None:
        self._graphs.cuGraphExecDestroy(graph)

    def milliseconds(self, stream: Stream, work: Callable[[], None]) -> float:
        begin, end = self._cuda.Event(), self._cuda.Event()
        work()  # keeps the GPU busy while the host puts what is timed behind it
        begin.record(stream)
        work()
        end.record(stream)
        end.synchronize()
        return float(end.time_since(begin))

    def copy_within(self, target: Memory, source: Memory, size: int, stream: Stream) -> None:
        self._cuda.memcpy_dtod_async(target, source, size, stream)

    def close(self) -> None:
        """The primary context stays until the process ends, see `_primary_context`."""


@functools.cache
def _primary_context(index: int) -> Any:
    """One for the process, given back when it ends: pycuda (2026.1), when it lets go of a primary context that is not current,
    pushes it onto the driver's stack and leaves it there; in another thread than the one that made it, it does not let go at all."""
    driver = importlib.import_module("pycuda.driver")
    driver.init()
    context = driver.Device(index).retain_primary_context()
    atexit.register(context.detach)  # its destructor would take it for one that is not primary, and complain
    return context


def missing() -> str:
    """Why pycuda cannot be used here, asked without touching it where there is no driver; empty if it can."""
    found = cuda.driver()
    if not found.is_there:
        return found.reason
    try:
        importlib.import_module("pycuda.driver")
    except ImportError as error:
        return "pycuda is not installed" if error.name == "pycuda" else f"pycuda does not load: {error}"
    return ""


def remedy() -> str:
    return f"{extras.remedy('tensorrt')} (CUDA_ROOT must name the CUDA toolkit); --backend onnxruntime needs no GPU"


def _graph_calls() -> Any:
    """cuda-bindings' driver module, or None: graphs are then not captured, and every call is made anew."""
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ImportError:
        return None


def _checked(answer: tuple[Any, ...]) -> Any:
    """cuda-bindings returns (code, *values)."""
    code, *values = answer
    if int(code) != 0:
        raise BackendError(f"CUDA fails: {code.name}", remedy="see `edgebind doctor`")
    return values[0] if values else None
