"""The walk over ONNX bytes finds what the onnx library finds, wherever a tensor may hide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgebind import onnx_external
from edgebind.errors import BundleError


def _external(location: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name=location)
    onnx.external_data_helper.set_external_data(tensor, location=location)
    tensor.ClearField("raw_data")
    return tensor


def _graph(
    name: str, initialisers: list[onnx.TensorProto], nodes: list[onnx.NodeProto] | None = None
) -> onnx.GraphProto:
    return helper.make_graph(nodes or [], name, [], [], initializer=initialisers)


def _hidden_everywhere() -> tuple[onnx.ModelProto, set[str]]:
    """A model that names an outside file in each place where ONNX lets a tensor stand."""
    inner = _graph("inner", [_external("in_subgraph")])
    node = helper.make_node("If", ["c"], [], then_branch=inner)
    node.attribute.append(helper.make_attribute("tensors", [_external("in_tensors")]))
    node.attribute.append(helper.make_attribute("graphs", [_graph("g", [_external("in_graphs")])]))
    constant = helper.make_node("Constant", [], ["v"], value=_external("in_constant"))
    sparse = onnx.SparseTensorProto(values=_external("in_values"), indices=_external("in_indices"), dims=[4])
    graph = _graph("outer", [_external("in_graph")], [node, constant])
    graph.sparse_initializer.append(sparse)
    nodes = [helper.make_node("Constant", [], ["w"], value=_external("in_function"))]
    function = helper.make_function("d", "f", [], ["w"], nodes, [helper.make_opsetid("", 18)])
    model = helper.make_model(graph, functions=[function])
    model.training_info.add(initialization=_graph("t", [_external("in_training")]))
    places = "subgraph tensors graphs constant values indices graph function training"
    return model, {f"in_{place}" for place in places.split()}


def test_finds_every_place_a_tensor_may_stand(tmp_path: Path) -> None:
    model, places = _hidden_everywhere()
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert onnx_external.locations(path) == places


def test_finds_nothing_in_a_graph_that_keeps_its_values(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(_graph("g", [numpy_helper.from_array(np.arange(300.0), name="w")])), path)
    assert onnx_external.locations(path) == set()


@given(st.lists(st.text(min_size=1, max_size=30), max_size=5, unique=True))
def test_agrees_with_the_library_on_any_name(names: list[str]) -> None:
    import tempfile

    model = helper.make_model(_graph("g", [_external(name) for name in names]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(model.SerializeToString())
        assert onnx_external.locations(path) == set(names)


@pytest.mark.parametrize("cut", [1, 10, 50])
def test_a_truncated_graph_is_one_clear_line(tmp_path: Path, cut: int) -> None:
    model, _ = _hidden_everywhere()
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString()[:-cut])
    with pytest.raises(BundleError, match="not a readable ONNX graph"):
        onnx_external.locations(path)


def test_a_field_number_that_readers_would_cut_short_is_refused(tmp_path: Path) -> None:
    # Protobuf readers keep 32 bits of a tag: with a bit beyond them, field 13 hides from a walk that keeps them all.
    honest = helper.make_model(_graph("g", [_external("secret")])).SerializeToString()
    at = honest.index(b"secret", honest.index(b"location")) - len(b"location") - 6
    tag = honest.rindex(b"\x6a", 0, at + 6)
    assert honest[tag : tag + 1] == b"\x6a"
    hidden = _varint((1 << 32) | 0x6A)
    entry = honest[tag + 1 : tag + 2 + honest[tag + 1]]
    tensor = b"\x08\x04" + hidden + entry
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
    with pytest.raises(BundleError, match="not a readable ONNX graph"):
        onnx_external.locations(path)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_a_graph_nested_without_end_is_one_clear_line(tmp_path: Path) -> None:
    inner = b""
    for _ in range(600):  # graph -> node -> attribute -> graph -> ...
        for field in (b"\x32", b"\x2a", b"\x0a"):
            inner = field + _varint(len(inner)) + inner
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a" + _varint(len(inner)) + inner)
    with pytest.raises(BundleError, match="not a readable ONNX graph"):
        onnx_external.locations(path)
