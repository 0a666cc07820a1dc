"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgebind.engines.flavour import Flavour

ROOT = Path(__file__).resolve().parents[1]

# A shell that runs us in the background has SIGINT ignored, and children would inherit that: tests that press Ctrl-C in a
# child would press it in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and reference outputs that lies beside the repository, or `EDGEBIND_SHARED`."""
    folder = Path(os.environ.get("EDGEBIND_SHARED", ROOT.parent / "shared"))
    if not (folder / "parity" / "keys.json").is_file():
        pytest.skip(f"no recordings and reference outputs at {folder}; set EDGEBIND_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    """TensorRT-RTX, which builds engines without a GPU."""
    from edgebind.engines.flavour import load_flavour
    from edgebind.errors import MissingDependencyError

    try:
        return load_flavour("rtx")
    except MissingDependencyError as error:
        pytest.skip(str(error))
