"""Where samples come from. One file a protocol; `open_source` chooses by the scheme of `--source`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from edgebind.errors import OptionError
from edgebind.manifest import WindowSpec
from edgebind.sources.base import Source
from edgebind.sources.units import Units

AT_ONCE_HOPS = 32
"""Windows that begin in a chunk of a recording that is read at full speed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a source is opened for."""

    modality: str
    spec: WindowSpec
    rate_hz: float | None = None
    """Samples or frames a second, where the source does not say."""
    units: Units | None = None
    chunk_seconds: float = 0.02
    """How much of the signal comes at a time."""

    def at_once(self) -> Wanted:
        """The same for a recording that is read as fast as it can be: in chunks of many windows, which cost less each."""
        return replace(self, chunk_seconds=AT_ONCE_HOPS * self.spec.hop_seconds)


def _file(address: str, wanted: Wanted) -> Source:
    from edgebind.sources.file import open_recording

    return _opened(open_recording, address, wanted)


def _rows(address: str, wanted: Wanted) -> Source:
    from edgebind.sources.rows import open_rows

    return _opened(open_rows, address, wanted)


class _Opener(Protocol):
    """How the module of a protocol opens its sources."""

    def __call__(
        self,
        address: str,
        modality: str,
        spec: WindowSpec,
        /,
        *,
        rate_hz: float | None,
        units: Units | None,
        chunk_seconds: float,
    ) -> Source: ...


def _opened(opener: _Opener, address: str, wanted: Wanted) -> Source:
    return opener(
        address,
        wanted.modality,
        wanted.spec,
        rate_hz=wanted.rate_hz,
        units=wanted.units,
        chunk_seconds=wanted.chunk_seconds,
    )


SCHEMES: dict[str, tuple[str, Callable[[str, Wanted], Source]]] = {
    "file": ("file:PATH", _file),
    "rows": ("rows:PATH", _rows),
}
"""Scheme -> how it is written, and what opens it. A live protocol is one more line here and one more file beside it."""

RECORDED = frozenset({"file"})
"""Schemes whose samples wait for us; all others are live, and their oldest samples are dropped when we are slow."""


def open_source(text: str, wanted: Wanted) -> Source:
    """The source that `--source` names, such as `file:walk.csv`.

    Raises
    ------
    OptionError: an unknown scheme, or an option that does not fit it.
    RecordingError: a recording that is not there, or of another kind.
    """
    scheme, _, address = text.partition(":")
    if scheme not in SCHEMES or not address:
        wanted_forms = " or ".join(form for form, _ in SCHEMES.values())
        raise OptionError("unknown source", wanted=wanted_forms, got=repr(text))
    return SCHEMES[scheme][1](address, wanted)


def is_recorded(text: str) -> bool:
    """Whether the source `text` is a recording, which may be read at any speed."""
    return text.partition(":")[0] in RECORDED
