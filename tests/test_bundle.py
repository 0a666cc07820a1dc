"""A bundle is opened only when every byte of it is its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edgebind
from edgebind import bundle, manifest
from edgebind.errors import BackendError, BundleError, OptionError, RecordingError
from edgebind.signals import Window
from tests import bundles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bundles.write(tmp_path / "imu-fp32")


def test_embeds_as_worked_out_by_hand(folder: Path) -> None:
    window = np.zeros((6, 10), np.float32)
    window[0, :4] = np.array([3, 0, 4, 0]) * 9.80665  # the preprocessor divides by standard gravity
    with edgebind.load(folder) as opened:
        np.testing.assert_allclose(opened.embed([window]), [[0.6, 0, 0.8, 0]], atol=1e-6)
        assert opened.labels.prompts == ("a", "b")
        assert opened.manifest.dim == 4


def test_writing_what_was_read_changes_nothing(folder: Path) -> None:
    text = (folder / manifest.FILE).read_text()
    assert manifest.read(folder / manifest.FILE).to_json() == text


def test_manifest_has_the_keys_that_other_tools_rely_on(folder: Path) -> None:
    table = json.loads((folder / "manifest.json").read_text())
    keys = "format space modality dim precision logit_scale window preprocess labels files gate provenance"
    assert set(table) == set(keys.split())
    assert set(table["window"]) == {"rate_hz", "seconds", "hop_seconds", "channels", "units"}


Harm = Callable[[Path], object]


def _edit(**changes: Any) -> Harm:
    def harm(folder: Path) -> None:
        path = folder / manifest.FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return harm


def _edit_files(name: str, digest: str = "0" * 64) -> Harm:
    def harm(folder: Path) -> None:
        files = json.loads((folder / manifest.FILE).read_text())["files"]
        _edit(files=files | {name: digest})(folder)

    return harm


def _flip_byte(folder: Path) -> None:
    path = folder / bundle.ENCODER
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _link_outside(folder: Path) -> None:
    outside = folder.parent / "outside.onnx"
    shutil.move(folder / bundle.ENCODER, outside)
    (folder / bundle.ENCODER).symlink_to(outside)


HARMS: dict[str, tuple[Harm, str]] = {
    "one byte changed": (_flip_byte, "was altered"),
    "encoder missing": (lambda folder: (folder / bundle.ENCODER).unlink(), "is missing"),
    "manifest missing": (lambda folder: (folder / manifest.FILE).unlink(), "no bundle here"),
    "manifest cut off": (lambda folder: (folder / manifest.FILE).write_text('{"format"'), "cannot be read as JSON"),
    "another format": (_edit(format="other/1"), "unknown bundle format"),
    "no format": (_edit(format=None), "unknown bundle format"),
    "path upwards": (_edit_files("../secret"), "lies outside the bundle"),
    "absolute path": (_edit_files("/etc/passwd"), "lies outside the bundle"),
    "link outside": (_link_outside, "lies outside the bundle"),
    "unknown key": (_edit(surprise=1), "unknown key 'surprise'"),
    "wrong type": (_edit(dim="many"), "key 'dim' has the wrong type"),
    "bool for a number": (_edit(dim=True), "key 'dim' has the wrong type"),
    "unknown modality": (_edit(modality="smell"), "unknown modality"),
    "unknown precision": (_edit(precision="int3"), "unknown precision"),
    "no encoder listed": (_edit(files={}), "lists no encoder.onnx"),
    "labels of another bank": (_edit(labels=["a", "c"]), "labels differ"),
    "impossible scale": (_edit(logit_scale=-1.0), "logit scale"),
    "unknown preprocessing": (_edit(preprocess={"kind": "smell"}), "smell"),
}


@pytest.mark.parametrize("name", HARMS)
def test_refuses_a_harmed_bundle_in_one_line(folder: Path, name: str) -> None:
    harm, message = HARMS[name]
    harm(folder)
    with pytest.raises(BundleError, match=message) as caught:
        edgebind.load(folder)
    assert "\n" not in str(caught.value)


def _with_external(location: str) -> bytes:
    model = onnx.load_from_string(bundles.encoder())
    (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == "weights")
    onnx.external_data_helper.set_external_data(weights, location=location)
    weights.ClearField("raw_data")
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize("location", ["/etc/passwd", "../outside.bin", "unlisted.bin"])
def test_refuses_a_graph_that_reads_a_file_of_somebody_else(tmp_path: Path, location: str) -> None:
    with pytest.raises(BundleError, match="which is not a file of the bundle"):
        bundle.write(tmp_path / "b", bundles.IMU, {bundle.ENCODER: _with_external(location)})
    assert not (tmp_path / "b").exists()


def test_runs_a_graph_that_reads_its_own_hashed_file(tmp_path: Path) -> None:
    values = numpy_helper.to_array(onnx.load_from_string(bundles.encoder()).graph.initializer[0]).tobytes()
    sources = {bundle.ENCODER: _with_external("encoder.onnx.data"), "encoder.onnx.data": values}
    bundle.write(tmp_path / "b", bundles.IMU, sources)
    with edgebind.load(tmp_path / "b") as opened:
        window = np.ones((6, 10), np.float32)
        np.testing.assert_allclose(opened.embed([window]), np.full((1, 4), 0.5), atol=1e-6)


def test_does_not_replace_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(OptionError, match="will not replace"):
        bundles.write(tmp_path / "home")
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_refuses_an_unknown_backend(folder: Path) -> None:
    with pytest.raises(OptionError, match="unknown backend"):
        edgebind.load(folder, backend="abacus").embed([np.ones((6, 10), np.float32)])


def test_refuses_windows_of_unequal_length(folder: Path) -> None:
    windows = [np.ones((6, length), np.float32) for length in (10, 10, 12)]
    with (
        edgebind.load(folder) as opened,
        pytest.raises(RecordingError, match=r"window 2: windows of unequal length \(wanted \(6, 10\).*got \(6, 12\)"),
    ):
        opened.embed(windows)


def test_says_which_window_of_many_holds_no_numbers(folder: Path) -> None:
    good, bad = np.ones((6, 10), np.float32), np.full((6, 10), np.nan, np.float32)
    windows = [Window(0, 1, good, origin="a.csv"), Window(0, 1, bad, origin="b.csv")]
    with edgebind.load(folder) as opened, pytest.raises(RecordingError, match=r"b\.csv: .* NaN or infinity"):
        opened.embed(windows)


def test_many_windows_are_prepared_as_each_alone(folder: Path) -> None:
    windows = np.random.default_rng(0).normal(size=(7, 6, 10)).astype(np.float32)
    with edgebind.load(folder) as opened:
        alone = np.concatenate([opened.prepare([window]) for window in windows])
        np.testing.assert_allclose(opened.prepare(list(windows)), alone, rtol=1e-6)
        np.testing.assert_allclose(opened.prepare(windows), alone, rtol=1e-6)


def test_refuses_a_window_whose_rows_differ(folder: Path) -> None:
    with edgebind.load(folder) as opened, pytest.raises(RecordingError, match="rows of equal length"):
        opened.embed([[[1.0, 2.0], [3.0]]])  # type: ignore[arg-type]


def test_a_closed_bundle_says_so(folder: Path) -> None:
    window = np.ones((6, 10), np.float32)
    with edgebind.load(folder) as opened:
        opened.embed([window])
    opened.close()
    with pytest.raises(BackendError, match="imu-fp32: the bundle is closed; open it again"):
        opened.embed([window])


def test_refuses_nothing_to_embed(folder: Path) -> None:
    with pytest.raises(OptionError, match="nothing to embed"):
        edgebind.load(folder).embed([])


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    file = tmp_path / "encoder.onnx"
    file.write_bytes(b"")
    with pytest.raises(BundleError, match="no bundle here"):
        bundle.load(file)
