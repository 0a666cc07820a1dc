"""File names are bytes, and not all are UTF-8; Python holds those that are not as lone surrogates."""

from __future__ import annotations

from pathlib import Path

from edgebind.errors import OptionError


def encoded(text: str) -> bytes:
    r"""`text` in UTF-8. A byte of a file name that fits in no UTF-8 comes out as `\udcXX`, which in JSON is what it says."""
    return text.encode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    r"""`text` as every file and stream can take it: what fits in no UTF-8 as `\udcXX`."""
    return encoded(text).decode("utf-8")


def require(path: Path) -> None:
    """Refuse a path that a library in C++ would not take.

    Raises
    ------
    OptionError: it is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise OptionError(
            "a name that is not UTF-8, which encoders are not opened by", where=path, remedy="rename it"
        ) from error
