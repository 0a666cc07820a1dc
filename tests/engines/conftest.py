"""A small bundle to build, and a GPU to build it for."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebind import bundle
from edgebind.cuda import Device
from edgebind.manifest import Manifest
from tests import bundles

ADA = Device("", (8, 9))
"""A target that is only named."""


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Path, Manifest]:
    """A bundle that builds in a moment: its folder and manifest."""
    folder = bundles.write(tmp_path / "tiny")
    return folder, bundle.verify(folder)
