"""What the documents say is what the code does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("how-to/*.md"), *ROOT.glob("edgebind/starter/**/*.md")]


def test_the_reference_of_commands_is_what_help_says() -> None:
    written = subprocess.run(
        [sys.executable, ROOT / "scripts" / "document"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "how-to" / "commands.md").read_text(encoding="utf-8") == written.stdout, "run scripts/document"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("script", ["run", "test", "check"])
def test_the_readme_names_the_scripts(script: str) -> None:
    assert f"`scripts/{script}`" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "scripts" / script).stat().st_mode & 0o111


def test_ci_runs_the_readmes_test_command() -> None:
    assert "exec scripts/test\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize(("modality", "title"), [("imu", "IMU"), ("thermal", "thermal")])
def test_what_the_starter_comes_to_in_int8_is_what_its_bundle_says(modality: str, title: str) -> None:
    gate = json.loads((ROOT / f"edgebind/starter/{modality}-int8/manifest.json").read_text(encoding="utf-8"))["gate"]
    table = (ROOT / "how-to/quantise.md").read_text(encoding="utf-8").split("## What it comes to")[1]
    row = next(line for line in table.splitlines() if line.startswith(f"| {title} |"))
    wanted = [f"{gate['cosine_mean']:.5f}", f"{gate['cosine_p1']:.5f}", f"{gate['agreement']:.0%} of {gate['windows']}"]
    assert [cell.strip().replace(" %", "%") for cell in row.split("|")[2:5]] == wanted
