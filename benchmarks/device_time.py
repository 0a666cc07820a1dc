"""What the GPU itself takes, where a backend drives one: the engine without the way there and back, and its own memory's speed."""

from __future__ import annotations

from collections.abc import Callable

from edgebind.backends.base import Backend
from edgebind.backends.gpu import Gpu, Stream
from edgebind.backends.tensorrt import TensorRTBackend
from edgebind.errors import BackendError

COPIED = 1 << 28
"""Bytes: more than any cache on a GPU holds."""
COPIES = 10


def engine_ms(backend: Backend, count: int) -> float | None:
    """How long the GPU is busy with the engine alone on as many windows as were embedded just before; None where it is not ours to ask."""
    if not isinstance(backend, TensorRTBackend):
        return None
    with backend.borrowed() as own:
        return _ms(own.gpu, own.stream, own.engine_alone(count))


def _ms(gpu: Gpu, stream: Stream, work: Callable[[], None]) -> float:
    """As one graph where that can be: of a small encoder it would else be the host's launches, kernel by kernel, that are timed."""
    try:
        graph = gpu.capture(stream, work) if gpu.has_graphs else None
    except BackendError:  # a layer that cannot be captured
        graph = None
    if graph is None:
        return gpu.milliseconds(stream, work)
    try:
        return gpu.milliseconds(stream, lambda: gpu.replay(graph, stream))
    finally:
        gpu.free(graph)


def copy_gbs(backend: Backend) -> float | None:
    """Bytes that the GPU reads and writes a second in its own memory, in 10⁹; None where it is not ours to ask."""
    if not isinstance(backend, TensorRTBackend):
        return None
    with backend.borrowed() as own:
        return 2 * COPIED / _copy_ms(own.gpu, own.stream) / 1e6


def _copy_ms(gpu: Gpu, stream: Stream) -> float:
    """Of the fastest copy. Its memory is let go in here, where the GPU's context is current."""
    source, target = gpu.memory(COPIED), gpu.memory(COPIED)
    return min(gpu.milliseconds(stream, lambda: gpu.copy_within(target, source, COPIED, stream)) for _ in range(COPIES))
