"""Every encoder, in every precision, builds for GPUs that are not here, and gives the same bytes twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgebind.benchmarks.builds import SMS, compile_for, imagebind_graphs, starter_graphs
from edgebind.cuda import Sm
from edgebind.engines.builder import Job, build
from edgebind.engines.flavour import Flavour
from edgebind.engines.key import Profile

pytest.importorskip("onnx")
MODALITIES = ("imu", "thermal")
PRECISIONS = ("fp32", "fp16", "int8")
NARROW = {"imu": (64, 2), "thermal": (48, 3)}
"""Width and heads. Full depth and every kind of layer; `python -m edgebind.benchmarks.builds` takes the towers whole."""
Graphs = dict[tuple[str, str], Path]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    made = {name: starter_graphs(name, tmp_path_factory.mktemp(name)) for name in MODALITIES}
    return {(name, precision): graph for name, graphs in made.items() for precision, graph in graphs.items()}


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    """ImageBind's, made narrow."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from edgebind.models.imagebind import ARCHITECTURES

    made = {}
    for name, (width, heads) in NARROW.items():
        size = replace(ARCHITECTURES[name], width=width, heads=heads)
        made[name] = imagebind_graphs(name, tmp_path_factory.mktemp(name), size)
    return {(name, precision): graph for name, graphs in made.items() for precision, graph in graphs.items()}


def _same_bytes_twice(graph: Path, rtx: Flavour, *sms: Sm) -> None:
    first, second = (compile_for(graph, rtx, *sms) for _ in range(2))
    assert len(first.data) > 10_000
    assert first.data == second.data


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("modality", MODALITIES)
def test_the_starter_builds_for_every_gpu(modality: str, precision: str, shipped: Graphs, rtx: Flavour) -> None:
    for sm in SMS:
        _same_bytes_twice(shipped[modality, precision], rtx, sm)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("modality", MODALITIES)
def test_imagebinds_towers_build_for_every_gpu(modality: str, precision: str, towers: Graphs, rtx: Flavour) -> None:
    _same_bytes_twice(towers[modality, precision], rtx, *SMS)


def test_lower_precision_makes_a_smaller_engine(shipped: Graphs, rtx: Flavour) -> None:
    """The weights are stored in the type the graph gives them: that it is strongly typed shows in the size."""
    sizes = {name: len(compile_for(shipped["thermal", name], rtx, (8, 6)).data) for name in PRECISIONS}
    assert sizes["int8"] < sizes["fp32"]
    assert sizes["fp16"] < sizes["fp32"]


def test_any_batch_of_a_range_builds(shipped: Graphs, rtx: Flavour) -> None:
    assert build(Job(shipped["imu", "int8"], rtx, (Profile(1, 1, 16), Profile(2, 8, 8)), ((8, 6),))).data


def test_weights_beside_the_graph_are_found(shipped: Graphs, rtx: Flavour, tmp_path: Path) -> None:
    """As in graphs above 2 GiB: the engine is the one of the graph that carries its weights itself."""
    import onnx

    model = onnx.load(shipped["thermal", "fp32"])
    onnx.save(
        model, tmp_path / "encoder.onnx", save_as_external_data=True, location="encoder.onnx.data", size_threshold=0
    )
    assert (tmp_path / "encoder.onnx.data").stat().st_size > 1_000_000
    whole, parted = (
        compile_for(graph, rtx, (8, 9)) for graph in (shipped["thermal", "fp32"], tmp_path / "encoder.onnx")
    )
    assert parted.data == whole.data
