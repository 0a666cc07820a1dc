"""What stands between a user and a builder that is busy in C++: its progress, its complaints, what it prints, and Ctrl-C.

An exception must not travel through TensorRT's C++, or the process dies. So nothing is raised inside its callbacks: signals
are noted and raised when the builder has come back, as are errors of whoever shows the progress.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from edgebind.engines.flavour import Flavour, Progress

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether the builder should stop, and why."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.error: BaseException | None = None

    @property
    def wanted(self) -> bool:
        return self.signal is not None or self.error is not None


@contextlib.contextmanager
def deferred_signals() -> Iterator[Interruption]:
    """Ctrl-C and SIGTERM during the block are noted, and take effect at its end as they would have without it.

    Only the main thread receives signals; elsewhere the block runs as it is.
    """
    interruption = Interruption()

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield interruption
    else:
        # One that is ignored stays ignored; one that was not set from Python is None, and could not be put back.
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        ours = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
        try:
            for number in ours:
                signal.signal(number, note)
            yield interruption
        finally:
            for number, handler in ours.items():
                signal.signal(number, handler)
            if interruption.signal is not None:
                signal.raise_signal(interruption.signal)
    if interruption.error is not None:
        raise interruption.error


@contextlib.contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What C++ prints during the block comes out as standard error: TensorRT-RTX's compiler writes warnings past TensorRT's
    logger, which would stand among the JSON Lines that `edgebind run` writes into a pipe."""
    try:
        kept = os.dup(_OUTPUT)
    except OSError:  # a service without standard output
        yield
        return
    try:
        _flush()
        os.dup2(_ERRORS, _OUTPUT)
        yield
    finally:
        _flush()
        os.dup2(kept, _OUTPUT)
        os.close(kept)


_OUTPUT, _ERRORS = 1, 2
"""File descriptors, as C knows them."""


def _flush() -> None:
    """What Python and C hold back for standard output, so that it goes where it was written to."""
    if sys.stdout is not None:
        sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)


def monitor(flavour: Flavour, progress: Progress, interruption: Interruption) -> Any:
    """TensorRT's progress monitor, which tells `progress` of the outermost phases and stops the builder when asked to."""
    trt = flavour.trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                progress(phase_name, step, max(step + 1, self._steps.get(phase_name, 1)))
            except BaseException as error:
                interruption.error = error
            return not interruption.wanted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


_ears: list[list[str]] = []


@contextlib.contextmanager
def listening(flavour: Flavour) -> Iterator[tuple[Any, list[str]]]:
    """TensorRT's logger, which prints nothing, and the list that its errors are added to during the block."""
    complaints = listen()
    try:
        yield _logger(flavour.trt), complaints
    finally:
        stop_listening(complaints)


def listen() -> list[str]:
    """A list that TensorRT's errors are added to until `stop_listening`."""
    complaints: list[str] = []
    _ears.append(complaints)
    return complaints


def stop_listening(complaints: list[str]) -> None:
    """Nothing is added any more; calling it twice is harmless."""
    _ears[:] = [ear for ear in _ears if ear is not complaints]


@functools.cache
def _logger(trt: Any) -> Any:
    """One for the whole process: TensorRT keeps the first that it was given, and would call it even after it was gone."""
    loud = (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR)

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in loud:
                for ear in _ears:
                    ear.append(message)

    return Listener()
