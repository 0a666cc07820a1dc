"""What the documents say is what the code does."""

from __future__ import annotations

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
