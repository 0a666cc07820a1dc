"""What a compiler in C++ prints goes to standard error, so that a pipe gets edgebind's own lines only."""

from __future__ import annotations

import ctypes
import os

import pytest

from edgebind.engines.watch import printing_to_stderr


def test_what_c_prints_is_not_in_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    c = ctypes.CDLL(None)
    print("before")
    c.puts(b"held back")
    with printing_to_stderr():
        c.puts(b"warning")
        os.write(1, b"raw\n")
    c.puts(b"after")
    c.fflush(None)
    out, err = capfd.readouterr()
    assert out.splitlines() == ["before", "held back", "after"]
    assert sorted(err.splitlines()) == ["raw", "warning"]


def test_a_service_without_output_is_served() -> None:
    kept = os.dup(1)
    os.close(1)
    try:
        with printing_to_stderr():
            pass
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(1)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
