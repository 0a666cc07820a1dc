"""Every encoder, in every precision, builds for GPUs that are not here, and gives the same bytes twice."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgebind.benchmarks.builds import SMS, compile_for, imagebind_graphs, starter_graphs
from edgebind.cuda import Sm
from edgebind.engines.builder import Job, build, target_name
from edgebind.engines.flavour import Flavour
from edgebind.engines.key import Profile

pytest.importorskip("onnx")
MODALITIES = ("imu", "thermal")
PRECISIONS = ("fp32", "fp16", "int8")
Graphs = dict[str, Path]
"""Precision -> graph."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Graphs]:
    return {name: starter_graphs(name, tmp_path_factory.mktemp(name)) for name in MODALITIES}


@pytest.fixture(scope="module", params=MODALITIES)
def tower(request: pytest.FixtureRequest, rtx: Flavour) -> Iterator[Graphs]:
    """ImageBind's at full size, with the weights that training would begin with: a compiler does not mind which."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    with tempfile.TemporaryDirectory() as folder:  # pytest would keep three runs' gigabytes
        yield imagebind_graphs(request.param, Path(folder))


def _same_bytes_twice(graph: Path, rtx: Flavour, sm: Sm) -> None:
    first, second = (_digest(graph, rtx, sm) for _ in range(2))
    assert first == second


def _digest(graph: Path, rtx: Flavour, sm: Sm) -> str:
    """Of an engine that holds more than the graph's weights: both would be 700 MB at once for the largest."""
    plan = compile_for(graph, rtx, sm)
    assert len(plan.data) > graph.stat().st_size
    return hashlib.sha256(plan.data).hexdigest()


@pytest.mark.parametrize("sm", SMS, ids=target_name)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("modality", MODALITIES)
def test_the_starter_builds_for_every_gpu(
    modality: str, precision: str, sm: Sm, shipped: dict[str, Graphs], rtx: Flavour
) -> None:
    _same_bytes_twice(shipped[modality][precision], rtx, sm)


@pytest.mark.slow
@pytest.mark.parametrize("sm", SMS, ids=target_name)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_imagebinds_towers_build_for_every_gpu(precision: str, sm: Sm, tower: Graphs, rtx: Flavour) -> None:
    _same_bytes_twice(tower[precision], rtx, sm)


def test_lower_precision_makes_a_smaller_engine(shipped: dict[str, Graphs], rtx: Flavour) -> None:
    """The weights are stored in the type the graph gives them: that it is strongly typed shows in the size."""
    sizes = {name: len(compile_for(shipped["thermal"][name], rtx, (8, 6)).data) for name in PRECISIONS}
    assert sizes["int8"] < sizes["fp32"]
    assert sizes["fp16"] < sizes["fp32"]


def test_any_batch_of_a_range_builds(shipped: dict[str, Graphs], rtx: Flavour) -> None:
    assert build(Job(shipped["imu"]["int8"], rtx, (Profile(1, 1, 16), Profile(2, 8, 8)), ((8, 6),))).data


def test_weights_beside_the_graph_are_found(shipped: dict[str, Graphs], rtx: Flavour, tmp_path: Path) -> None:
    """As in graphs above 2 GiB: the engine is the one of the graph that carries its weights itself."""
    import onnx

    model = onnx.load(shipped["thermal"]["fp32"])
    onnx.save(
        model, tmp_path / "encoder.onnx", save_as_external_data=True, location="encoder.onnx.data", size_threshold=0
    )
    assert (tmp_path / "encoder.onnx.data").stat().st_size > 1_000_000
    whole, parted = (
        compile_for(graph, rtx, (8, 9)) for graph in (shipped["thermal"]["fp32"], tmp_path / "encoder.onnx")
    )
    assert parted.data == whole.data
