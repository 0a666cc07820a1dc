"""TensorRT-RTX, which builds engines without a GPU, and a small bundle to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebind import bundle
from edgebind.cuda import Device
from edgebind.engines.flavour import Flavour, load_flavour
from edgebind.errors import MissingDependencyError
from edgebind.manifest import Manifest
from tests import bundles

ADA = Device("", (8, 9))
"""A target that is only named."""


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    try:
        return load_flavour("rtx")
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Path, Manifest]:
    """A bundle that builds in a moment: its folder and manifest."""
    folder = bundles.write(tmp_path / "tiny")
    return folder, bundle.verify(folder)
