"""Optional packages: the line that installs one, whichever way edgebind itself came to this machine."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from edgebind.errors import MissingDependencyError

NAME = "edgebind"


def remedy(extra: str) -> str:
    """The command that installs `extra`: from the clone, wheel or repository edgebind was installed from, else by name."""
    clone = Path(__file__).resolve().parents[1]
    if (clone / "pyproject.toml").is_file():
        place = "." if clone == Path.cwd() else str(clone)
        return f'pip install -e "{place}[{extra}]"'
    return f'pip install "{_requirement(_origin(), extra)}"'


def pyav(wanted_for: str) -> ModuleType:
    """The module `av`, which reads sounds and videos.

    Raises
    ------
    MissingDependencyError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        wanted = f"it for {wanted_for}"
        raise MissingDependencyError("PyAV is not installed", wanted=wanted, remedy=remedy("audio")) from error
    return av


def _origin() -> dict[str, Any]:
    """What pip noted when it was not an index that edgebind came from (PEP 610, `direct_url.json`); else nothing."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        noted = distribution(NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    return dict(json.loads(noted)) if noted else {}


def _requirement(origin: dict[str, Any], extra: str) -> str:
    from urllib.parse import unquote, urlsplit

    url = str(origin.get("url", ""))
    if "vcs_info" in origin:
        version = origin["vcs_info"]
        return f"{NAME}[{extra}] @ {version['vcs']}+{url}@{version['commit_id']}"
    path = Path(unquote(urlsplit(url).path))
    if url.startswith("file:") and path.exists():
        return f"{path}[{extra}]"
    return f"{NAME}[{extra}]"
