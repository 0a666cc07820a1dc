"""Every call of cuda-bindings that the seam makes is one that the package has, with as many arguments."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edgebind.backends import gpu as seam

driver = pytest.importorskip("cuda.bindings.driver", exc_type=ImportError)

CALLS = {
    node.func.attr: len(node.args)
    for node in ast.walk(ast.parse(Path(seam.__file__).read_text(encoding="utf-8")))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("cu")
    if re.match(r"cu[A-Z]", node.func.attr)
}


def test_the_calls_were_found() -> None:
    assert set(CALLS) == {
        "cuStreamBeginCapture",
        "cuStreamEndCapture",
        "cuGraphInstantiate",
        "cuGraphDestroy",
        "cuGraphLaunch",
        "cuGraphExecDestroy",
    }


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_its_arguments(name: str) -> None:
    signature = (getattr(driver, name).__doc__ or "").splitlines()[0]
    inside = re.fullmatch(rf"{name}\((.*)\)", signature)
    assert inside is not None, signature
    assert len(inside[1].split(",")) == CALLS[name]


def test_a_streams_handle_becomes_a_stream_and_the_mode_is_there() -> None:
    assert int(driver.CUstream(1234)) == 1234
    assert driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL == 1
    assert driver.CUresult.CUDA_SUCCESS == 0
