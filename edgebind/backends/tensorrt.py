"""TensorRT: an engine on an NVIDIA GPU, and what moves windows to it and vectors back.

    one batch       host -> pinned | copy in, execute, copy out: one CUDA graph, replayed | pinned -> host
    many batches    while one is computed, the next is copied in and the last is copied out

A graph is captured for every batch size that is used, after its first call; where cuda-bindings is not installed, or a
layer cannot be captured, each call puts its three pieces into the stream anew. All windows and vectors pass through
memory that is allocated once.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind.backends.base import Feed, checked, finite
from edgebind.backends.ends import End, ends_of
from edgebind.backends.gpu import Event, Gpu, Graph, PycudaGpu, Stream
from edgebind.closing import Closing
from edgebind.engines import watch
from edgebind.engines.builder import one_line
from edgebind.engines.contexts import Contexts
from edgebind.engines.pixels import Front
from edgebind.errors import BackendError

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as trt

    from edgebind.engines.flavour import Flavour, Say
    from edgebind.engines.loading import Loaded
    from edgebind.manifest import Manifest

LANES = 32
"""Most batch sizes whose graph is kept; the one that was not used for longest goes first."""
_open: weakref.WeakSet[TensorRTBackend] = weakref.WeakSet()


@dataclass(slots=True)
class _Lane:
    """One batch size in one set of buffers. It has an execution context of its own, which a captured graph must find as it was."""

    context: Any
    """`trt.IExecutionContext`."""
    graph: Graph | None = None
    may_capture: bool = True


class _Buffers:
    """Room for one batch on both sides, and the events that say how far it has come."""

    def __init__(self, gpu: Gpu, batch: int, ends: tuple[End, End]) -> None:
        self.host_in, self.host_out = (gpu.pinned((batch, *end.shape), end.dtype) for end in ends)
        self.gpu_in, self.gpu_out = gpu.memory(self.host_in.nbytes), gpu.memory(self.host_out.nbytes)
        self.arrived, self.computed, self.returned = gpu.event(), gpu.event(), gpu.event()


@dataclass(slots=True)
class _Held:
    """Everything that lives on the GPU, in the order in which it may be let go."""

    lanes: OrderedDict[tuple[int, int], _Lane] = field(default_factory=OrderedDict)
    """(batch size, number of the set of buffers) -> lane; the one used last is at the end."""
    buffers: list[_Buffers] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    scratch: Any = None
    contexts: Contexts | None = None
    loaded: Loaded | None = None


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What somebody needs who measures how long the GPU itself is busy, see `edgebind.benchmarks.device_time`."""

    gpu: Gpu
    stream: Stream
    engine_alone: Callable[[int], Callable[[], None]]
    """Number of windows -> what puts the engine into the stream, without copies, on as many as were embedded just before."""


class TensorRTBackend(Closing):
    """One engine on one GPU; may be called from any thread, one call at a time."""

    def __init__(self, loaded: Loaded, gpu: Gpu, flavour: Flavour, name: str = "tensorrt") -> None:
        """Allocate what every call uses. The GPU's context must be current; it is given back by `close`.

        Raises
        ------
        BackendError: not one input and one output of fixed shapes, or the GPU's memory is full.
        """
        self._gpu, self._where = gpu, loaded.file.path
        self.build_s: float = loaded.file.seconds
        """Seconds that building the engine took, now or when it was put into the cache."""
        self._input, self._output = ends_of(loaded.engine, flavour, self._where)
        self.input_name, self.output_name = self._input.name, self._output.name
        self.takes_pixels = bool(loaded.file.key.pixels)
        self.frame = loaded.file.key.size
        self.name = name
        self._file = loaded.file
        self._lock = threading.Lock()
        size = loaded.engine.device_memory_size_v2
        held = _Held(
            loaded=loaded,
            contexts=Contexts(flavour, loaded.engine, loaded.file.path),
            scratch=gpu.memory(size),
            streams=[gpu.stream() for _ in "ixo"],
        )
        self._complaints = watch.listen()
        self._held: _Held | None = held
        self._scratch_size = size
        self._buffers_of(0)
        _open.add(self)
        _close_in_the_end()

    @classmethod
    def from_bundle(cls, folder: Path, manifest: Manifest, *, pixels: bool = False, say: Say) -> TensorRTBackend:
        """The engine of a verified bundle on the first GPU: found in the cache, or built and kept there.

        Parameters
        ----------
        pixels: take 8-bit pixels where the preprocessing has a tail, and do it on the GPU.
        say: called with the line that says why an engine has to be built.

        Raises
        ------
        MissingDependencyError: no driver, no TensorRT, no pycuda, or no GPU that this TensorRT knows.
        BackendError, OptionError, StorageError: the engine cannot be built, loaded or kept.
        """
        from edgebind import preprocess
        from edgebind.engines import engine_for, load_flavour, loading

        flavour = load_flavour()
        device = flavour.device()
        always, sometimes = (preprocess.tail_of(manifest.preprocess, sometimes=each) for each in (False, True))
        front = Front(always) if pixels and always is not None else None
        name = "tensorrt" if pixels or sometimes is None else "tensorrt-floats"
        get = functools.partial(
            engine_for,
            folder,
            manifest,
            device=device,
            flavour=flavour,
            front=front,
            or_any=True,
            or_frames=sometimes if pixels else None,
            say=say,
        )
        gpu = PycudaGpu(device.index)
        try:
            with gpu.current():
                return cls(loading.load(get, flavour, folder, tail=sometimes, say=say), gpu, flavour, name)
        except BaseException:
            gpu.close()
            raise

    # ------------------------------------------------------------------------------------------------------- one call

    def infer(self, feed: Feed) -> dict[str, NDArray[np.float32]]:
        """Run one batch: {input: (batch, ...)} -> {output: (batch, dim)}. One larger than the engine takes goes in pieces.

        Raises
        ------
        BackendError: closed, wrong name or shape, CUDA or TensorRT fails, or values that are no numbers.
        """
        value = checked(feed, self.input_name, self._input.shape, self._input.dtype, self._where)
        return {self.output_name: finite(self.infer_unchecked(value), self._where)}

    def infer_unchecked(self, value: NDArray[np.generic]) -> NDArray[np.float32]:
        """Copy in, execute, copy out; neither `value` nor the output is looked at."""
        pieces = self._file.pieces(len(value))
        with self._lock, self._working() as held:
            return self._one(held, value) if len(pieces) == 1 else self._many(held, value, pieces)

    @contextlib.contextmanager
    def _working(self) -> Iterator[_Held]:
        """The GPU is ours; when something fails in the middle, nothing is still under way when the block is left."""
        if self._held is None:
            raise BackendError("the encoder is closed", where=self._where, remedy="open it again")
        self._complaints.clear()  # of what went wrong before, such as a capture that failed
        with self._gpu.current():
            try:
                yield self._held
            except BaseException:
                self._drain(self._held)
                raise

    def _drain(self, held: _Held) -> None:
        for stream in held.streams:
            with contextlib.suppress(BackendError):  # what failed first is what the user should read
                self._gpu.finish(stream)

    def _one(self, held: _Held, value: NDArray[np.generic]) -> NDArray[np.float32]:
        count, buffers, stream = len(value), held.buffers[0], held.streams[1]
        lane = self._lane(held, count, 0)
        buffers.host_in[:count] = value
        if lane.graph is not None:
            self._gpu.replay(lane.graph, stream)
        else:
            self._enqueue(lane, buffers, count, stream)
        self._gpu.finish(stream)
        vectors = np.array(buffers.host_out[:count], dtype=np.float32)
        if lane.graph is None and lane.may_capture:
            self._capture(lane, buffers, count, stream)
        return vectors

    def _enqueue(self, lane: _Lane, buffers: _Buffers, count: int, stream: Stream) -> None:
        self._gpu.copy_in(buffers.gpu_in, buffers.host_in[:count], stream)
        self._execute(lane, stream)
        self._gpu.copy_out(buffers.host_out[:count], buffers.gpu_out, stream)

    def _execute(self, lane: _Lane, stream: Stream) -> None:
        context: trt.IExecutionContext = lane.context
        if not context.execute_async_v3(self._gpu.handle(stream)):
            raise self._refused("does not run the engine", "see `edgebind doctor`")

    def _capture(self, lane: _Lane, buffers: _Buffers, count: int, stream: Stream) -> None:
        """After the first call, because TensorRT finishes its preparations in it, and those cannot be captured."""
        lane.may_capture = False  # tried once
        if self._gpu.has_graphs:
            with contextlib.suppress(BackendError):  # a layer that cannot be captured still runs as it just did
                lane.graph = self._gpu.capture(stream, lambda: self._enqueue(lane, buffers, count, stream))

    # ---------------------------------------------------------------------------------------------------- many batches

    def _many(self, held: _Held, value: NDArray[np.generic], pieces: Sequence[slice]) -> NDArray[np.float32]:
        vectors = np.empty((len(value), *self._output.shape), np.float32)
        under_way: deque[tuple[slice, _Buffers]] = deque()
        for turn, rows in enumerate(pieces):
            buffers = self._buffers_of(turn % 2)
            if len(under_way) == 2:  # the batch before last, which these buffers are of
                self._take(vectors, *under_way.popleft())
            buffers.host_in[: rows.stop - rows.start] = value[rows]
            self._launch(held, turn % 2, rows.stop - rows.start)
            under_way.append((rows, buffers))
        while under_way:
            self._take(vectors, *under_way.popleft())
        return vectors

    def _launch(self, held: _Held, number: int, count: int) -> None:
        """Copy in, execute and copy out, each in its own stream, each after the one before."""
        gpu, buffers, lane = self._gpu, held.buffers[number], self._lane(held, count, number)
        inwards, execute, outwards = held.streams
        gpu.copy_in(buffers.gpu_in, buffers.host_in[:count], inwards)
        gpu.record(buffers.arrived, inwards)
        gpu.wait(execute, buffers.arrived)
        self._execute(lane, execute)
        gpu.record(buffers.computed, execute)
        gpu.wait(outwards, buffers.computed)
        gpu.copy_out(buffers.host_out[:count], buffers.gpu_out, outwards)
        gpu.record(buffers.returned, outwards)

    def _take(self, vectors: NDArray[np.float32], rows: slice, buffers: _Buffers) -> None:
        returned: Event = buffers.returned
        self._gpu.finish(returned)
        vectors[rows] = buffers.host_out[: rows.stop - rows.start]

    # ------------------------------------------------------------------------------------------------ what is kept ready

    def _buffers_of(self, number: int) -> _Buffers:
        assert self._held is not None  # whoever asks is working
        while len(self._held.buffers) <= number:
            self._held.buffers.append(_Buffers(self._gpu, self._file.largest, (self._input, self._output)))
        return self._held.buffers[number]

    def _lane(self, held: _Held, count: int, number: int) -> _Lane:
        lane = held.lanes.get((count, number))
        if lane is None:
            lane = held.lanes[count, number] = _Lane(self._context(held, count, number))
            if len(held.lanes) > LANES:
                _, oldest = held.lanes.popitem(last=False)
                self._free(oldest)
        held.lanes.move_to_end((count, number))
        return lane

    def _context(self, held: _Held, count: int, number: int) -> Any:
        """A context for that batch size. All share one piece of scratch memory, since they run one after the other."""
        assert held.contexts is not None  # until it is closed
        profile = self._file.profile_for(count)
        context: trt.IExecutionContext | None = held.contexts.make()
        if context is None:
            raise self._refused("makes no execution context", "free memory of the GPU")
        context.set_device_memory(int(held.scratch), self._scratch_size)
        stream, buffers = held.streams[1], self._buffers_of(number)
        done = context.set_optimization_profile_async(profile, self._gpu.handle(stream))
        self._gpu.finish(stream)
        done = done and context.set_input_shape(self.input_name, (count, *self._input.shape))
        done = done and context.set_tensor_address(self.input_name, int(buffers.gpu_in))
        done = done and context.set_tensor_address(self.output_name, int(buffers.gpu_out))
        if not done:
            raise BackendError("the engine accepts no such batch", where=self._where, got=count)
        return context

    def _refused(self, what: str, remedy: str) -> BackendError:
        return BackendError(f"TensorRT {what}: {one_line(self._complaints)}", where=self._where, remedy=remedy)

    def _free(self, lane: _Lane) -> None:
        if lane.graph is not None:
            self._gpu.free(lane.graph)

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Borrowed]:
        """The GPU between two calls, for who measures it; calls wait meanwhile.

        Raises
        ------
        BackendError: closed, or CUDA fails.
        """
        with self._lock, self._working() as held:
            yield Borrowed(self._gpu, held.streams[1], lambda count: self._engine_alone(held, count))

    def _engine_alone(self, held: _Held, count: int) -> Callable[[], None]:
        lanes = [
            self._lane(held, rows.stop - rows.start, turn % 2) for turn, rows in enumerate(self._file.pieces(count))
        ]

        def execute() -> None:
            for lane in lanes:
                self._execute(lane, held.streams[1])

        return execute

    def close(self) -> None:
        """Give everything back; calling it twice is harmless."""
        with self._lock:
            watch.stop_listening(self._complaints)
            held, self._held = self._held, None
            if held is None:
                return
            try:
                with self._gpu.current():
                    self._drain(held)
                    for lane in held.lanes.values():
                        self._free(lane)
                    try:
                        if held.contexts is not None:
                            held.contexts.keep()
                    finally:
                        held.lanes.clear()  # contexts before the engine, all of them before the memory they use
                        held.contexts = held.loaded = None
                        held.buffers.clear()
                        held.scratch = None
                        held.streams.clear()
            finally:
                self._gpu.close()

    def __del__(self) -> None:
        """One that was forgotten gives its memory back in the GPU's context too, whichever thread it is that collects it."""
        if getattr(self, "_held", None) is not None:
            self.close()


@functools.cache
def _close_in_the_end() -> None:
    """Registered when pycuda is loaded already, so that Python, which goes backwards, closes backends before pycuda ends."""
    atexit.register(_close_all)


def _close_all() -> None:
    with contextlib.ExitStack() as stack:  # one that cannot be closed does not keep the others open
        for backend in list(_open):
            stack.callback(backend.close)
