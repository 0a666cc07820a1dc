"""Where embeddings go. One file a kind; `open_sink` chooses by what `--sink` says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from edgebind.errors import OptionError
from edgebind.sinks.base import Sink


def _stdout(address: str, embedding: bool) -> Sink:
    if address:
        raise OptionError("stdout takes no address", wanted="stdout", got=repr(f"stdout:{address}"))
    if sys.stdout.isatty():
        from edgebind.sinks.terminal import TerminalSink

        return TerminalSink(sys.stdout)
    from edgebind.sinks.jsonl import JsonLinesSink

    return JsonLinesSink(sys.stdout, embedding=embedding)


def _jsonl(address: str, embedding: bool) -> Sink:
    from edgebind.sinks.jsonl import JsonLinesFileSink

    if not address:
        raise OptionError("a file is missing", wanted="jsonl:PATH", got="'jsonl:'")
    return JsonLinesFileSink(Path(address), embedding=embedding)


KINDS: dict[str, tuple[str, Callable[[str, bool], Sink]]] = {
    "stdout": ("stdout", _stdout),
    "jsonl": ("jsonl:PATH", _jsonl),
}
"""Kind -> how it is written, and what opens it. A new kind is one more line here and one more file beside it."""


def open_sink(text: str, *, embedding: bool = True) -> Sink:
    """The sink that `--sink` names: `stdout` (a live line in a terminal, JSON Lines in a pipe) or `jsonl:PATH`.

    Parameters
    ----------
    embedding: False leaves the vectors out.

    Raises
    ------
    OptionError: an unknown kind.
    StorageError: a file that cannot be written.
    """
    kind, _, address = text.partition(":")
    if kind not in KINDS:
        raise OptionError("unknown sink", wanted=" or ".join(form for form, _ in KINDS.values()), got=repr(text))
    return KINDS[kind][1](address, embedding)
