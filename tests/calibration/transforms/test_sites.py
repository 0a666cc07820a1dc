from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebind.calibration.graph import Graph
from edgebind.calibration.transforms import sites
from tests.calibration.transforms.conftest import Writer


def places(path: Path) -> dict[str, tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]]:
    return {site.tensor: (site.divided, site.multiplied) for site in sites.find(Graph.read(path))}


def test_a_layer_norm_and_all_that_read_it(transformer: Path) -> None:
    found = places(transformer)
    assert len(found) == 6  # two LayerNorms a block; scores, residual sums and the squared activation take no scale
    assert found["b1.attn.normed"] == (
        (("b1.attn.scale", 0), ("b1.attn.shift", 0)),
        (("b1.attn.q.w", 0), ("b1.attn.k.w", 0), ("b1.attn.v.w", 0)),
    )


def test_convolutions_through_relu_and_pool(convolutions: Path) -> None:
    assert places(convolutions) == {
        "c0": ((("w0", 0), ("b0", 0)), (("w1", 0),)),  # depthwise: its own channels are the first axis
        "c1": ((("w1", 0), ("b1", 0)), (("w2", 1),)),
    }


def test_a_linear_layer_through_reshapes_of_rows(tmp_path: Path) -> None:
    add = Writer()
    add("Gemm", ["input", add.constant("w0", np.ones((6, 4))), add.constant("b0", np.ones(6))], "g0", transB=1)
    add("Relu", ["g0"], "r0")
    add("Reshape", ["r0", add.constant("to", np.array([-1, 1, 6]))], "rows")
    add("MatMul", ["rows", add.constant("w1", np.ones((6, 5)))], "m1")
    add("Reshape", ["m1", add.constant("back", np.array([-1, 5]))], "embedding")
    assert places(add.save(tmp_path / "g.onnx", [4], [5])) == {"g0": ((("w0", 0), ("b0", 0)), (("w1", 0),))}


@pytest.mark.parametrize("spoiler", ["residual", "shared weight", "gelu", "output", "channels", "broadcast bias"])
def test_where_no_scale_can_move(tmp_path: Path, spoiler: str) -> None:
    add = Writer()
    width = 8
    weight = add.constant("w0", np.ones((width, width)))
    if spoiler == "broadcast bias":
        add("Gemm", ["input", weight, add.constant("b0", np.ones((1, width)))], "m0")
    else:
        add("MatMul", ["input", weight], "m0")
    add("Erf" if spoiler == "gelu" else "Relu", ["m0"], "r0")
    read = "r0"
    if spoiler == "channels":  # what was a channel is a place in a longer row
        width = 16
        read = add("Reshape", ["r0", add.constant("to", np.array([-1, 16]))], "rows")
    second = weight if spoiler == "shared weight" else add.constant("w1", np.ones((width, width)))
    add("MatMul", [read, second], "m1")
    if spoiler == "residual":
        add("Add", ["m1", "r0"], "embedding")
    elif spoiler == "output":
        add.nodes[-1].output[0] = "unread"
        add("Identity", ["m0"], "embedding")
    else:
        add("Identity", ["m1"], "embedding")
    shape = [width] if spoiler == "channels" else [8]
    assert places(add.save(tmp_path / "g.onnx", [8], shape)) == {}
