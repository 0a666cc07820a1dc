"""Which TensorRT is loaded, and the reason where none is: broken installs are common, and none may end in a traceback."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from edgebind.engines import flavour
from edgebind.errors import MissingDependencyError, OptionError

MODULES = [name for names in flavour.MODULES.values() for name in names]
WHOLE = "__version__ = '{version}'\nclass Builder: ...\nclass IBuilderConfig: ...\n"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules stand for the installed ones; the real TensorRTs are hidden."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, None)  # so that what a test puts here is taken away after it
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "not installed"),
        (
            "import tensorrt_libs_that_are_not_there",
            "does not load: No module named 'tensorrt_libs_that_are_not_there'",
        ),
        (
            "raise OSError('libnvinfer.so.10: cannot open shared object file')",
            "does not load: libnvinfer.so.10: cannot",
        ),
        ("raise RuntimeError", "does not load: RuntimeError"),
        ("__version__ = '10.3.0'", "does not load: it has no Builder"),
        (WHOLE.format(version="8.5.2.2"), "TensorRT 8.5.2.2 is too old, 10.3 is wanted (JetPack 6 has it)"),
    ],
)
def test_why_a_flavour_does_not_load(source: str | None, reason: str, packages: Path) -> None:
    if source is not None:
        (packages / "tensorrt.py").write_text(source)
    loaded, why = flavour.probe("tensorrt")
    assert loaded is None
    assert why.startswith(reason)
    with pytest.raises(MissingDependencyError, match=r"no TensorRT here .tensorrt: .*; rtx: not installed.*JetPack"):
        flavour.load_flavour()


def test_the_full_tensorrt_comes_first(packages: Path) -> None:
    (packages / "tensorrt_rtx_bindings.py").write_text(WHOLE.format(version="1.7.1.116"))
    assert flavour.load_flavour().name == "rtx"
    (packages / "tensorrt.py").write_text(WHOLE.format(version="10.3.0"))
    loaded = flavour.load_flavour()
    assert (loaded.name, loaded.release, str(loaded)) == ("tensorrt", (10, 3, 0), "TensorRT 10.3.0")
    assert not loaded.builds_without_gpu
    assert str(flavour.load_flavour("rtx")) == "TensorRT-RTX 1.7.1.116"


def test_there_is_no_third(packages: Path) -> None:
    with pytest.raises(OptionError, match="wanted auto or tensorrt or rtx, got 'trt'"):
        flavour.load_flavour("trt")


@pytest.mark.parametrize(
    ("package", "major"),
    [("tensorrt", 0), ("tensorrt_cu12", 12), ("tensorrt-cu13-bindings", 13), ("tensorrt_rtx_cu13_bindings", 13)],
)
def test_the_cuda_that_a_package_was_made_for(package: str, major: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """JetPack's package is called `tensorrt` and comes with its own driver."""
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"trt": [package]})
    assert flavour.cuda_of("trt") == major


def test_targets_are_those_that_the_release_names(rtx: flavour.Flavour) -> None:
    assert {(8, 0), (8, 6), (8, 9), (12, 0)} <= set(rtx.targets)
    assert (8, 7) not in rtx.targets
