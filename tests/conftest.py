"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and reference outputs that lies beside the repository, or `EDGEBIND_SHARED`."""
    folder = Path(os.environ.get("EDGEBIND_SHARED", ROOT.parent / "shared"))
    if not (folder / "parity" / "keys.json").is_file():
        pytest.skip(f"no recordings and reference outputs at {folder}; set EDGEBIND_SHARED to their folder")
    return folder
