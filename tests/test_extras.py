"""The remedy for a missing package is a line that works where edgebind came from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edgebind import extras

ROOT = Path(__file__).resolve().parents[1]


def test_in_a_clone_it_names_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert extras.remedy("cpu") == f'pip install -e "{ROOT}[cpu]"'
    monkeypatch.chdir(ROOT)
    assert extras.remedy("cpu") == 'pip install -e ".[cpu]"'


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        ({}, "edgebind[cpu]"),  # from an index
        ({"url": "file:///no/such/clone", "dir_info": {}}, "edgebind[cpu]"),
        ({"url": "{here}/my%20clone", "dir_info": {}}, "{path}/my clone[cpu]"),
        ({"url": "{here}/edgebind.whl", "archive_info": {}}, "{path}/edgebind.whl[cpu]"),
        (
            {"url": "https://host/e.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "edgebind[cpu] @ git+https://host/e.git@c0ffee",
        ),
    ],
)
def test_elsewhere_it_names_what_pip_noted(tmp_path: Path, origin: dict[str, Any], line: str) -> None:
    (tmp_path / "my clone").mkdir()
    (tmp_path / "edgebind.whl").write_text("")
    noted = origin | ({"url": origin["url"].format(here=tmp_path.as_uri())} if "url" in origin else {})
    assert extras._requirement(noted, "cpu") == line.format(path=tmp_path)


def test_every_extra_that_is_named_exists() -> None:
    table = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    known = set(re.findall(r"^([a-z]+) = ", table, re.MULTILINE))
    sources = [
        path for layer in ("edgebind", "export", "calibration", "benchmarks") for path in ROOT.glob(f"{layer}/**/*.py")
    ]
    named = {part.split('"')[0] for path in sources for part in path.read_text().split('extras.remedy("')[1:]}
    assert {"cpu", "train"} <= named <= known
