"""Which graph runs where, and what the backend refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from edgebind.backends import onnxruntime as runtime
from edgebind.backends.onnxruntime import OnnxRuntimeBackend, graph_name
from edgebind.errors import BackendError
from tests import bundles

INT8 = replace(
    bundles.IMU, precision="int8", files=dict.fromkeys(("encoder.onnx", "encoder.u8s8.onnx", "encoder.u8u8.onnx"), "")
)


@pytest.mark.parametrize(
    ("vnni", "arm", "graph"),
    [
        (True, False, "encoder.u8s8.onnx"),  # exact, and the fastest
        (False, False, "encoder.u8u8.onnx"),  # U8S8 would saturate at 16 bits
        (False, True, "encoder.u8s8.onnx"),  # ARM sums in 32 bits
    ],
)
def test_int8_takes_the_kernels_that_do_not_saturate(vnni: bool, arm: bool, graph: str) -> None:
    assert graph_name(INT8, vnni=vnni, arm=arm) == graph


def test_a_bundle_without_cpu_graphs_runs_its_only_one() -> None:
    assert graph_name(replace(INT8, files={"encoder.onnx": ""}), vnni=True, arm=False) == "encoder.onnx"
    assert graph_name(bundles.IMU, vnni=True, arm=False) == "encoder.onnx"


def test_a_feed_that_does_not_fit_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(bundles.encoder())
    with OnnxRuntimeBackend(path) as backend:
        with pytest.raises(BackendError, match="no such input"):
            backend.infer({"other": np.zeros((1, 6, 10), np.float32)})
        with pytest.raises(BackendError, match="input of the wrong shape"):
            backend.infer({"input": np.zeros((1, 6, 11), np.float32)})
        with pytest.raises(BackendError, match="no numbers"):
            backend.infer({"input": np.zeros((1, 6, 10), np.float32)})  # its length is 0: 0 / 0


def test_inputs_of_another_type_or_layout_give_the_same_vectors(tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(bundles.encoder())
    value = np.arange(120, dtype=np.float32).reshape(2, 6, 10)
    with OnnxRuntimeBackend(path) as backend:
        wanted = backend.infer({"input": value})["embedding"]
        for given in (
            value.astype(np.float64),
            value.astype(">f4"),
            np.asfortranarray(value),
            value[::-1].copy()[::-1],
        ):
            np.testing.assert_array_equal(backend.infer({"input": given})["embedding"], wanted)


def test_the_bare_call_computes_the_same_and_checks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(bundles.encoder())
    value = np.arange(120, dtype=np.float32).reshape(2, 6, 10)
    with OnnxRuntimeBackend(path) as backend:
        np.testing.assert_array_equal(backend.infer_unchecked(value), backend.infer({"input": value})["embedding"])
        assert np.isnan(backend.infer_unchecked(np.zeros((1, 6, 10), np.float32))).all()


def test_a_closed_encoder_says_so(tmp_path: Path) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(bundles.encoder())
    with OnnxRuntimeBackend(path) as backend:
        feed = {"input": np.ones((1, 6, 10), np.float32)}
        backend.infer(feed)
    backend.close()
    with pytest.raises(BackendError, match=r"e\.onnx: the encoder is closed"):
        backend.infer(feed)


@pytest.mark.parametrize(("release", "spins"), [("1.20.1", "0"), ("1.25.0", "0"), ("1.26.0", "1"), ("2.0.0", "1")])
def test_threads_wait_awake_only_where_their_patience_can_be_bounded(tmp_path: Path, release: str, spins: str) -> None:
    path = tmp_path / "e.onnx"
    path.write_bytes(bundles.encoder())
    module = SimpleNamespace(__version__=release, SessionOptions=onnxruntime.SessionOptions)
    options = runtime._options(module, path, 2, True)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == spins
    if spins == "1":
        assert options.get_session_config_entry("session.force_spinning_stop") == "1"
        assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "50"
    assert options.intra_op_num_threads == 2


def test_what_is_no_graph_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no such graph"):
        OnnxRuntimeBackend(tmp_path / "absent.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(BackendError, match="cannot load it"):
        OnnxRuntimeBackend(tmp_path / "noise.onnx")


@pytest.mark.parametrize(("precision", "fp16", "int8"), [("fp32", "0", "0"), ("fp16", "1", "0"), ("int8", "1", "1")])
def test_the_tensorrt_provider_is_told_the_precision(precision: str, fp16: str, int8: str) -> None:
    (name, options), (second, _), (last, _) = runtime._providers("tensorrt", precision)
    assert (name, second, last) == tuple(runtime.PROVIDERS[each] for each in ("tensorrt", "cuda", "cpu"))
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == (fp16, int8)
