"""What the TensorRT backend asks of a GPU, on one that is as late as it may be; and that no machine without one is harmed."""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebind import backends, bundle, cuda, engines
from edgebind.backends import gpu as seam
from edgebind.backends import tensorrt
from edgebind.backends.base import Backend
from edgebind.backends.tensorrt import TensorRTBackend
from edgebind.benchmarks import device_time
from edgebind.engines import Profile, flavour, loading, watch
from edgebind.engines.loading import Loaded
from edgebind.engines.pixels import Front
from edgebind.errors import BackendError, MissingDependencyError
from tests import bundles
from tests.backends import lazy_gpu
from tests.backends.lazy_gpu import FLAVOUR, Engine, LazyGpu, loaded, oracle

RNG = np.random.default_rng(1)


def _backend(gpu: LazyGpu, *profiles: Profile, **engine: Any) -> TensorRTBackend:
    with gpu.current():
        return TensorRTBackend(loaded(Engine(gpu, **engine), *profiles), gpu, FLAVOUR)


def _windows(count: int) -> np.ndarray:
    return RNG.normal(size=(count, *lazy_gpu.SHAPE)).astype(np.float32)


def _embed(backend: TensorRTBackend, windows: np.ndarray) -> np.ndarray:
    return backend.infer({"input": windows})["embedding"]


@pytest.mark.parametrize("has_graphs", [True, False])
def test_every_batch_size_again_and_again(has_graphs: bool) -> None:
    gpu = LazyGpu(has_graphs=has_graphs)
    with _backend(gpu) as backend:
        assert isinstance(backend, Backend)
        for count in (1, 3, 1, 4, 3, 1, 2, 4, 1):
            windows = _windows(count)
            np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)
    assert gpu.depth == 0, "a context is left on a thread's stack"


@pytest.mark.parametrize("has_graphs", [True, False])
def test_pixels_travel_as_bytes(has_graphs: bool) -> None:
    gpu = LazyGpu(has_graphs=has_graphs)
    with _backend(gpu, kind="UINT8") as backend:
        assert backend.takes_pixels
        for count in (1, 3, 1, 9, 3, 9):
            pixels = RNG.integers(0, 256, (count, *lazy_gpu.SHAPE), np.uint8)
            np.testing.assert_allclose(_embed(backend, pixels), oracle(pixels), rtol=1e-6)
        for wrong in (np.float32, np.int64, np.uint16):
            with pytest.raises(BackendError, match=r"input of the wrong type \(wanted uint8, got"):
                _embed(backend, pixels.astype(wrong))


@pytest.mark.parametrize("seen", ["pictures", "movements"])
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-floats"])
def test_only_pictures_have_pixels_and_only_where_they_are_wanted(
    seen: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bundles.write_seer(tmp_path / "b") if seen == "pictures" else bundles.write(tmp_path / "b")
    asked: list[Front | None] = []

    def load(get: functools.partial[object], flavour: object, folder: Path, *, tail: object, say: object) -> Loaded:
        asked.append(front := get.keywords["front"])
        return loaded(Engine(gpu, kind="FLOAT" if front is None else "UINT8"))

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(engines, "load_flavour", lambda: FLAVOUR)
    monkeypatch.setattr(flavour.Flavour, "device", lambda self: cuda.Device("", (8, 6)))
    for pixels in (True, False):
        gpu = LazyGpu()
        monkeypatch.setattr(tensorrt, "PycudaGpu", lambda index, gpu=gpu: gpu)
        with backends.open_backend(name, folder, bundle.verify(folder), pixels=pixels) as backend:
            wanted = seen == "pictures" and name == "tensorrt" and pixels
            assert backend.takes_pixels == wanted == (asked[-1] is not None)
            assert backend.name == ("tensorrt" if wanted or seen == "movements" else "tensorrt-floats")


def test_what_tensorrt_rtx_compiled_is_there_for_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the engine lies
    kernels = tmp_path / "e.kernels"

    def run(*counts: int) -> Engine:
        gpu = LazyGpu()
        with gpu.current():
            backend = TensorRTBackend(loaded(engine := Engine(gpu)), gpu, lazy_gpu.RTX)
        with backend:
            for count in counts:
                np.testing.assert_allclose(_embed(backend, windows := _windows(count)), oracle(windows), rtol=1e-6)
        return engine

    run(1)
    first = kernels.read_bytes()
    assert first[32:] == b"\x01"
    before = kernels.stat().st_mtime_ns
    run(1)
    assert kernels.stat().st_mtime_ns == before, "nothing new"
    run(1, 2, 3)
    assert kernels.read_bytes()[32:] == b"\x01\x02\x03"
    kernels.write_bytes(kernels.read_bytes()[:-1])  # cut off
    run(4)
    assert kernels.read_bytes()[32:] == b"\x01", "what was altered is never given to TensorRT"
    kernels.unlink()
    kernels.mkdir()
    (kernels / "in the way").touch()
    run(1)  # it cannot be kept, and nobody is harmed


def test_a_graph_is_captured_once_for_each_batch_size_and_then_replayed() -> None:
    gpu = LazyGpu()
    with _backend(gpu) as backend:
        for count in (1, 2, 1, 2, 1):
            _embed(backend, _windows(count))
        asked = Counter(gpu.calls)
        assert (asked["capture"], asked["replay"], gpu.graphs) == (2, 3, 2)
        gpu.calls.clear()
        _embed(backend, _windows(2))
        assert gpu.calls == ["replay", "finish"], "one call puts in everything"
    assert gpu.graphs == 0


def test_an_engine_that_cannot_be_captured_runs_without() -> None:
    gpu = LazyGpu()
    with _backend(gpu, can_be_captured=False) as backend:
        for _ in range(3):
            windows = _windows(2)
            np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)
        assert Counter(gpu.calls)["capture"] == 1, "tried once"


@pytest.mark.parametrize("count", [5, 8, 9, 21])
def test_more_windows_than_the_engine_takes_go_in_pieces(count: int) -> None:
    gpu = LazyGpu()
    with _backend(gpu) as backend:
        for _ in range(2):
            windows = _windows(count)
            np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)


@pytest.mark.parametrize("count", [3, 5, 8, 9, 20])
def test_sizes_in_a_gap_between_profiles_go_in_pieces(count: int) -> None:
    with _backend(LazyGpu(), Profile(8, 8, 8), Profile(1, 1, 1), Profile(2, 2, 4), profiles=3) as backend:
        windows = _windows(count)
        np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)


def test_pieces_overlap() -> None:
    """The second piece is on its way before the first is waited for, the third before the second."""
    gpu = LazyGpu()
    with _backend(gpu) as backend:
        _embed(backend, _windows(12))  # contexts are made
        gpu.calls.clear()
        _embed(backend, _windows(12))
    piece = ["copy in", "record", "wait", "execute", "record", "wait", "copy out", "record"]
    assert gpu.calls[: 3 * len(piece) + 1] == [*piece, *piece, "finish", *piece]
    assert gpu.calls[25:27] == ["finish", "finish"]


def test_what_a_stream_must_wait_for_is_waited_for() -> None:
    """The fake GPU is no friend: it shows what a missing wait does."""
    gpu = LazyGpu()
    gpu.wait = lambda stream, event: None  # type: ignore[method-assign]
    with _backend(gpu) as backend, pytest.raises(BackendError, match="values that are no numbers"):
        _embed(backend, _windows(9))


def test_a_vector_is_the_callers_own() -> None:
    with _backend(LazyGpu()) as backend:
        first = _embed(backend, _windows(1))
        kept = first.copy()
        _embed(backend, _windows(1))
        np.testing.assert_array_equal(first, kept)


def test_the_profile_of_a_batch_is_the_narrowest_that_takes_it() -> None:
    gpu = LazyGpu()
    with _backend(gpu, Profile(1, 1, 1), Profile(1, 8, 8), profiles=2) as backend:
        for count in (1, 8, 5, 19):
            windows = _windows(count)
            np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)


def test_batch_sizes_that_were_not_used_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "LANES", 2)
    gpu = LazyGpu()
    with _backend(gpu) as backend:
        for count in (1, 2, 3, 1, 4):
            windows = _windows(count)
            np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)
            assert gpu.graphs <= 2


@pytest.mark.parametrize("after", range(1, 40))
def test_a_fault_in_the_middle_leaves_nothing_under_way(after: int) -> None:
    gpu = LazyGpu(breaks_after=after)
    backend = _backend(gpu)
    with pytest.raises(BackendError, match="CUDA fails"):
        while True:
            for count in (1, 1, 9):
                windows = _windows(count)
                np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)
    assert not any(stream.queue for ref in gpu.streams if (stream := ref()) is not None)
    assert gpu.depth == 0
    gpu._left = None  # it works again
    windows = _windows(9)
    np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)
    backend.close()


def test_closing_gives_everything_back_and_only_once() -> None:
    gpu = LazyGpu()
    backend = _backend(gpu)
    _embed(backend, _windows(9))
    assert gpu.bytes
    backend.close()
    backend.close()
    gc.collect()
    assert (gpu.bytes, gpu.graphs, gpu.is_closed) == ({}, 0, True)
    with pytest.raises(BackendError, match=r"e\.engine: the encoder is closed"):
        _embed(backend, _windows(1))


def test_backends_that_are_forgotten_are_closed_in_the_end() -> None:
    gpu = LazyGpu()
    backend = _backend(gpu)
    tensorrt._close_all()
    assert gpu.is_closed
    backend.close()


def test_one_that_cannot_be_closed_does_not_keep_others_open(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [LazyGpu(), LazyGpu(), LazyGpu()]
    held = [_backend(gpu) for gpu in gpus]
    for gpu in gpus:
        monkeypatch.setattr(gpu, "close", functools.partial(_closed_with_a_fault, gpu))
    with pytest.raises(BackendError, match="CUDA fails"):
        tensorrt._close_all()
    assert all(gpu.is_closed for gpu in gpus)
    assert len(held) == 3


def _closed_with_a_fault(gpu: LazyGpu) -> None:
    gpu.is_closed = True
    raise BackendError("CUDA fails: cuda error")


def test_one_that_nobody_closed_is_closed_when_it_is_collected() -> None:
    gpu = LazyGpu()
    backend = _backend(gpu)
    _embed(backend, _windows(1))
    _embed(backend, _windows(1))
    del backend
    gc.collect()
    assert (gpu.bytes, gpu.graphs, gpu.is_closed, gpu.depth) == ({}, 0, True, 0)


def test_threads_take_turns() -> None:
    gpu = LazyGpu()
    faults: list[BaseException] = []

    def call(backend: TensorRTBackend, seed: int) -> None:
        windows = np.random.default_rng(seed).normal(size=(seed, *lazy_gpu.SHAPE)).astype(np.float32)
        try:
            for _ in range(20):
                np.testing.assert_allclose(_embed(backend, windows), oracle(windows), rtol=1e-6)
        except BaseException as error:
            faults.append(error)

    with _backend(gpu) as backend:
        threads = [threading.Thread(target=call, args=(backend, seed)) for seed in (1, 3, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults


def test_what_does_not_fit_is_one_clear_line() -> None:
    with _backend(LazyGpu()) as backend:
        with pytest.raises(BackendError, match="no such input"):
            backend.infer({"other": _windows(1)})
        with pytest.raises(BackendError, match="input of the wrong shape"):
            backend.infer({"input": np.zeros((1, 2, 4), np.float32)})
        with pytest.raises(BackendError, match="values that are no numbers"):
            backend.infer({"input": np.zeros((1, 2, 3), np.float32)})  # its length is 0: 0 / 0
    with pytest.raises(BackendError, match=r"not an encoder \(wanted 1 input, 1 output, got 2, 1\)"):
        _backend(LazyGpu(), inputs=("input", "mask"))


def test_what_tensorrt_complains_of_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: lazy_gpu.Context, stream_handle: int) -> bool:
        for ear in watch._ears:
            ear.append("[context.cpp::enqueue] Error Code 1:\n Cuda Runtime (an illegal address)")
        return False

    before = len(watch._ears)
    with _backend(LazyGpu()) as backend:
        watch._ears[-1].append("something long ago")
        with monkeypatch.context() as patch:
            patch.setattr(lazy_gpu.Context, "execute_async_v3", broken)
            for _ in range(2):
                with pytest.raises(
                    BackendError, match=r"does not run the engine: .* Code 1: Cuda Runtime \(an illegal"
                ):
                    _embed(backend, _windows(1))
        np.testing.assert_allclose(_embed(backend, windows := _windows(1)), oracle(windows), rtol=1e-6)
        monkeypatch.setattr(Engine, "create_execution_context", lambda engine, strategy: None)
        with pytest.raises(BackendError, match="makes no execution context: it gave no reason; free memory"):
            _embed(backend, _windows(2))
    assert len(watch._ears) == before


@pytest.mark.parametrize(("engine", "got"), [({"kind": "BOOL"}, "BOOL (-1, 2, 3)"), ({"dim": -1}, "FLOAT (-1, -1)")])
def test_ends_that_no_encoder_has_are_one_clear_line(engine: dict[str, Any], got: str) -> None:
    with pytest.raises(BackendError, match=rf"does not fit .* got {re.escape(got)}"):
        _backend(LazyGpu(), **engine)


def test_how_long_its_build_took_is_told() -> None:
    with _backend(LazyGpu()) as backend:
        assert backend.build_s == 1.5
        _embed(backend, _windows(1))
        assert device_time.engine_ms(backend, 1) == 1.0


@pytest.mark.parametrize(("gpu", "engine"), [({"has_graphs": False}, {}), ({}, {"can_be_captured": False})])
def test_the_time_on_the_gpu_is_told_without_graphs_too(gpu: dict[str, Any], engine: dict[str, Any]) -> None:
    with _backend(LazyGpu(**gpu), **engine) as backend:
        _embed(backend, _windows(2))
        assert device_time.engine_ms(backend, 2) == 1.0
        np.testing.assert_allclose(_embed(backend, windows := _windows(2)), oracle(windows), rtol=1e-6)


def test_the_time_on_the_gpu_is_of_all_pieces_of_a_batch() -> None:
    gpu = LazyGpu()
    with _backend(gpu) as backend:
        _embed(backend, _windows(9))
        before = gpu.calls.count("execute")
        device_time.engine_ms(backend, 9)
        assert gpu.calls.count("execute") - before == 3  # 4, 4 and 1, captured once
        assert gpu.graphs == 0  # and given back
        np.testing.assert_allclose(_embed(backend, windows := _windows(9)), oracle(windows), rtol=1e-6)


# ------------------------------------------------------------------------------------------------------ without a GPU

NO_GPU = pytest.mark.skipif(cuda.driver().is_there, reason="this machine has an NVIDIA driver")


@NO_GPU
@pytest.mark.usefixtures("rtx")  # without any TensorRT, that is what is missing first
def test_without_a_driver_auto_takes_the_cpu_and_tensorrt_says_why(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "b")
    manifest = bundle.verify(folder)
    with backends.open_backend("auto", folder, manifest) as backend:
        assert backend.name == "onnxruntime"
    assert "no NVIDIA driver" in backends.why_no_tensorrt()
    with pytest.raises(MissingDependencyError, match="no NVIDIA driver"):
        backends.open_backend("tensorrt", folder, manifest)
    with pytest.raises(MissingDependencyError, match=r"no NVIDIA driver .*--backend onnxruntime needs no GPU"):
        seam.PycudaGpu()


@NO_GPU
@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_provider_that_is_not_there_is_one_clear_line(tmp_path: Path, name: str) -> None:
    folder = bundles.write(tmp_path / "b")
    with pytest.raises(MissingDependencyError, match=r"ExecutionProvider.*(no NVIDIA driver|does not start)"):
        backends.open_backend(name, folder, bundle.verify(folder))


def test_a_driver_without_pycuda_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "driver", lambda: cuda.Driver((12, 6)))

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="pycuda")

    monkeypatch.setattr(importlib, "import_module", absent)
    assert seam.missing() == "pycuda is not installed"
    assert backends.why_no_tensorrt() == "pycuda is not installed"


# --------------------------------------------------------------------------------------- the fake against the real one


FAKES = [
    (lazy_gpu.Context, "IExecutionContext"),
    (Engine, "ICudaEngine"),
    (lazy_gpu.RuntimeConfig, "IRuntimeConfig"),
    (lazy_gpu.RuntimeCache, "IRuntimeCache"),
]


@pytest.mark.parametrize(("fake", "real"), FAKES)
def test_the_fake_has_tensorrts_own_signatures(fake: type, real: str) -> None:
    """Of TensorRT-RTX, whose API is TensorRT's and whose wheels install without a GPU."""
    rtx, why = flavour.probe("rtx")
    if rtx is None:
        pytest.skip(f"TensorRT-RTX: {why}")
    theirs = getattr(rtx.trt, real)
    assert hasattr(theirs, "device_memory_size_v2") == (real == "ICudaEngine")
    assert hasattr(theirs, "dynamic_shapes_kernel_specialization_strategy") == (real == "IRuntimeConfig")
    for name, method in vars(fake).items():
        if name.startswith("_") or name == "compile" or not inspect.isfunction(method):
            continue
        wanted = list(inspect.signature(method).parameters)[1:]
        signatures = re.findall(rf"{name}\(self: [\w.]+(?:, )?(.*?)\) ->", getattr(theirs, name).__doc__)
        assert wanted in [re.findall(r"(?:^|, )(\w+):", text) for text in signatures], name
