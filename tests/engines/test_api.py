"""Every name of TensorRT's API that the code touches exists in every release it is meant for.

The names are read off the source: `trt.BuilderFlag.TF32`, and members of objects whose class is known, because they were
annotated (`config: trt.IBuilderConfig`) or made (`builder = trt.Builder(...)`). A function that asks `hasattr(config, "x")` is
held only against the releases that have `x`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASES = ("10.3.0", "10.13.3", "10.16.1", "11.4.0", "rtx-1.7.1")
Api = dict[str, dict[str, list[str]]]
Name = tuple[str, str]
"""Class and member; the member is empty where only the class is named."""

MAKES = {
    ("Builder", "create_network"): "INetworkDefinition",
    ("Builder", "create_builder_config"): "IBuilderConfig",
    ("Builder", "create_optimization_profile"): "IOptimizationProfile",
    ("INetworkDefinition", "get_input"): "ITensor",
    ("OnnxParser", "get_error"): "ParserError",
    ("IBuilderConfig", "create_timing_cache"): "ITimingCache",
    ("IBuilderConfig", "get_timing_cache"): "ITimingCache",
    ("IBuilderConfig", "build_serialized_network"): "IHostMemory",
    ("Runtime", "deserialize_cuda_engine"): "ICudaEngine",
    ("ICudaEngine", "create_execution_context"): "IExecutionContext",
    ("ICudaEngine", "create_engine_inspector"): "EngineInspector",
    ("ICudaEngine", "create_runtime_config"): "IRuntimeConfig",
    ("IRuntimeConfig", "create_runtime_cache"): "IRuntimeCache",
}
"""What a method returns, for the objects that the code makes."""


def _is_module(node: ast.expr) -> bool:
    """`trt`, or `<anything>.trt`."""
    return (isinstance(node, ast.Name) and node.id == "trt") or (isinstance(node, ast.Attribute) and node.attr == "trt")


def _class_of(node: ast.expr | None, known: dict[str, str]) -> str | None:
    """The class of TensorRT that an expression is, or is an object of."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute) and _is_module(node.value):
        return node.attr
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
            maker = _class_of(node.func.value, known)
            return MAKES.get((maker, node.func.attr)) if maker else None
        return _class_of(node.func, known)
    return None


class _Names(ast.NodeVisitor):
    """The names in one function (or in a module, outside its functions), and what it is guarded by."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.used: set[Name] = set()
        self.guards: set[Name] = set()

    def visit_arg(self, node: ast.arg) -> None:
        if made := _class_of(node.annotation, {}):
            self.known[node.arg] = made
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if (made := _class_of(node.value, self.known)) and isinstance(node.targets[0], ast.Name):
            self.known[node.targets[0].id] = made
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            if isinstance(base, ast.Attribute) and _is_module(base.value):
                methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
                self.used |= {(base.attr, name) for name in methods if not name.startswith("_")}
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr") and len(node.args) > 1:
            name = node.args[1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                if _is_module(node.args[0]):
                    self.guards.add((name.value, ""))
                elif owner := _class_of(node.args[0], self.known):
                    self.guards.add((owner, name.value))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if _is_module(node.value):
            self.used.add((node.attr, ""))
        elif owner := _class_of(node.value, self.known):
            self.used.add((owner, node.attr))
        self.generic_visit(node)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (item for item in node.body if isinstance(item, ast.FunctionDef))


def names_in(source: str) -> list[_Names]:
    """One entry a function that touches TensorRT."""
    found = []
    for function in _functions(ast.parse(source)):
        names = _Names()
        names.visit(function)
        found.append(names)
    return [names for names in found if names.used]


def _exists(api: dict[str, list[str]], name: Name) -> bool:
    owner, member = name
    # Not of the API, but of the module and of every Python enum.
    if owner in ("__version__", "__name__") or member in ("__init__", "__members__", "name"):
        return True
    return owner in api and (not member or member in api[owner])


def missing(names: _Names, api: Api) -> list[str]:
    """`release: Class.member` for each name that a release lacks and no guard speaks of."""
    releases = [release for release in RELEASES if all(_exists(api[release], guard) for guard in names.guards)]
    lacking = [(release, name) for release in releases for name in names.used if not _exists(api[release], name)]
    return sorted(f"{release}: {'.'.join(name).rstrip('.')}" for release, name in lacking)


@pytest.fixture(scope="module")
def api(shared: Path) -> Api:
    return json.loads((shared / "tensorrt" / "api.json").read_text(encoding="utf-8"))


FILES = sorted(
    path
    for layer in ("edgebind", "export", "benchmarks")
    for path in (ROOT / layer).rglob("*.py")
    if "trt." in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_exists_in_every_release(path: Path, api: Api) -> None:
    for names in names_in(path.read_text(encoding="utf-8")):
        assert missing(names, api) == []


def test_the_names_that_were_read_off_are_the_ones_that_matter() -> None:
    read = {name for path in FILES for names in names_in(path.read_text(encoding="utf-8")) for name in names.used}
    assert {
        ("Builder", "build_serialized_network"),
        ("BuilderFlag", "TF32"),
        ("IBuilderConfig", "set_compute_capability"),
        ("IBuilderConfig", "progress_monitor"),
        ("IProgressMonitor", "step_complete"),
        ("ITimingCache", "serialize"),
        ("ITensor", "shape"),
        ("IOptimizationProfile", "set_shape"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("Runtime", "engine_host_code_allowed"),
    } <= read


@pytest.mark.parametrize(
    ("source", "lacks"),
    [
        ("trt.BuilderFlag.INT8", ["11.4.0: BuilderFlag.INT8", "rtx-1.7.1: BuilderFlag.INT8"]),
        ("config = trt.Builder(log).create_builder_config(); config.int8_calibrator", ["11.4.0: ", "rtx-1.7.1: "]),
        ("trt.ComputeCapability", ["10.3.0: ", "10.13.3: ", "10.16.1: ", "11.4.0: "]),
        ("if hasattr(trt, 'ComputeCapability'): trt.ComputeCapability.SM86", []),
        (
            "x = flavour.trt.Runtime(log); x.no_such_thing",
            [f"{release}: Runtime.no_such_thing" for release in RELEASES],
        ),
    ],
)
def test_a_name_that_a_release_lacks_is_found(source: str, lacks: list[str], api: Api) -> None:
    (names,) = names_in(f"def f(flavour, log, trt):\n    {source}\n")
    found = missing(names, api)
    assert len(found) == len(lacks)
    assert all(any(line.startswith(want) for line in found) for want in lacks)
