"""Towers for pictures: what they cost, that their rows are unit rows, and that they survive the road to ONNX."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgebind.errors import OptionError
from edgebind.export import parity

torch = pytest.importorskip("torch")

from edgebind.models import students  # noqa: E402  (needs torch)

PICTURES = ("thermal-xs", "thermal-s", "thermal-m", "thermal-l", "depth-s", "audio-s", "vision-s", "scene-s")
ROW = re.compile(r"^ +(\w+-\w+) +\(batch, ([\d, ]+)\) +([\d,]+) +([\d,]+)", re.MULTILINE)
"""A line of the module's table: name, shape of one input, parameters, MACs."""


def _table() -> dict[str, tuple[tuple[int, ...], int, int]]:
    rows = ROW.findall(students.__doc__ or "")
    return {name: (_numbers(shape), _number(held), _number(macs)) for name, shape, held, macs in rows}


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(", "))


TABLE = _table()


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_table_is_true(name: str) -> None:
    shape, parameters, macs = TABLE[name]
    tower = students.build(name, dim=384)
    assert students.input_shape(name) == shape
    assert name in students.names(name.rpartition("-")[0])
    assert sum(parameter.numel() for parameter in tower.parameters()) == parameters
    assert students.count_macs(tower, torch.zeros(2, *shape)) == macs


def test_the_table_has_every_picture_tower() -> None:
    assert set(PICTURES) <= set(TABLE)


def test_macs_of_a_worked_example() -> None:
    # 3x3 over 1 channel into 4 at half the size, then 8 pooled features into 5 entries.
    tower = students.PictureStudent(dim=5, widths=(1, 4))
    assert students.count_macs(tower, torch.zeros(1, 1, 16, 16)) == 8 * 8 * 4 * 9 + 8 * 5


def test_the_teacher_does_ten_times_the_work_of_the_student() -> None:
    assert TABLE["thermal-l"][2] >= 10 * TABLE["thermal-s"][2]


def test_an_unknown_student_is_one_clear_line() -> None:
    with pytest.raises(OptionError, match="thermal-s") as caught:
        students.build("thermal-xxl", dim=384)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PICTURES)
def test_rows_are_unit_rows_of_the_asked_length(name: str) -> None:
    shape, _, _ = TABLE[name]
    rows = students.build(name, dim=24).eval()(torch.randn(3, *shape))
    assert rows.shape == (3, 24)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))


def test_a_scene_is_known_by_what_is_where() -> None:
    """Two spots change places, each far from the edge: to a thing's tower that is nearly the same picture."""
    here = torch.zeros(1, 1, 128, 128)
    here[..., 40:44, 40:44], here[..., 72:88, 72:88] = 3, -3
    there = here.flip(2)
    thing = students.PictureStudent(dim=64, widths=(1, 16, 32)).eval()
    scene = students.PictureStudent(dim=64, widths=(1, 16, 32), places=8).eval()
    apart = [(tower(here) - tower(there)).norm().item() for tower in (thing, scene)]
    assert apart[1] > 2 * apart[0]


def test_one_set_of_weights_reads_pictures_of_any_size() -> None:
    tower = students.build("depth-s", dim=24).eval()
    assert tower(torch.randn(2, 1, 96, 130)).shape == (2, 24)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["thermal-xs", "audio-s", "vision-s"])
def test_onnx_says_what_torch_says_and_holds_no_batch_norm(name: str, tmp_path: Path) -> None:
    import onnx

    from edgebind.export import simplify
    from edgebind.export.torch_onnx import to_onnx

    shape, _, _ = TABLE[name]
    inputs = parity.example(shape, "float32")
    tower = students.build(name, dim=24)
    _settle(tower, shape)
    graph, slim = tmp_path / "encoder.onnx", tmp_path / "slim.onnx"
    expected = to_onnx(tower, inputs, graph)
    simplify.simplify(graph, slim)
    assert parity.check(expected, slim, inputs) <= 1e-5
    kinds = {node.op_type for node in onnx.load(slim).graph.node}
    assert "Conv" in kinds
    assert not {"BatchNormalization", "Dropout"} & kinds


def _settle(tower: Any, shape: tuple[int, ...]) -> None:
    """Give every BatchNorm statistics of its own, so that folding it has something to lose."""
    with torch.no_grad():
        tower.train()(torch.randn(4, *shape))
