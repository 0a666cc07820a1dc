"""A build that is killed, interrupted, or met by another: no half-written engine, no lock that stays, no second build."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgebind import bundle, starter
from edgebind.engines import engine_for
from edgebind.engines.flavour import Flavour
from tests.engines.conftest import ADA

CHILD = """
import os
import sys
import edgebind.cli.build as build
from edgebind.cli import main

def wait(self, phase, step, steps):
    if not build.seen:
        build.seen = True
        os.write(build.mine, b"building\\n")
        sys.stdin.readline()

build.seen = False
build.mine = os.dup(1)  # during the build standard output is standard error
build._Line.__call__ = wait
sys.exit(main(sys.argv[1:]))
"""
"""`edgebind build`, which stops in the middle of the build, says so, and goes on when it reads a line."""
BUNDLE = starter.folder("thermal", "int8")


@pytest.fixture
def child(rtx: Flavour, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of a build into `tmp_path / "cache"`."""
    command = ["build", str(BUNDLE), "--target", "sm_89", "--flavour", "rtx", "--out", str(tmp_path / "cache")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", CHILD, *command], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "building\n"
        yield process
        process.kill()


def _engines(cache: Path) -> list[str]:
    return [path.suffix for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_killed_build_leaves_nothing_that_could_be_taken_for_an_engine(
    child: subprocess.Popen[str], rtx: Flavour, tmp_path: Path
) -> None:
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert _engines(tmp_path / "cache") == []
    built = engine_for(BUNDLE, bundle.verify(BUNDLE), device=ADA, flavour=rtx, cache=tmp_path / "cache")
    assert built.built
    assert sorted(_engines(tmp_path / "cache")) == [".engine", ".json"]


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "edgebind: interrupted; nothing half-written is left"),
        (signal.SIGTERM, -signal.SIGTERM, ""),
    ],
)
def test_an_interrupted_build_stops_and_leaves_nothing(
    number: signal.Signals, code: int, line: str, child: subprocess.Popen[str], tmp_path: Path
) -> None:
    child.send_signal(number)
    _, errors = child.communicate("\n")
    assert child.returncode == code
    assert [said for said in errors.splitlines()[1:] if said] == [line] * bool(line)  # the first says what is built
    assert _engines(tmp_path / "cache") == []


def test_a_second_process_waits_and_takes_what_the_first_built(
    child: subprocess.Popen[str], rtx: Flavour, tmp_path: Path
) -> None:
    waiting = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def let_go() -> None:
        waiting.wait(timeout=60)
        child.communicate("\n")

    helper = threading.Thread(target=let_go)
    helper.start()
    found = engine_for(BUNDLE, bundle.verify(BUNDLE), device=ADA, flavour=rtx, cache=tmp_path / "cache", say=say)
    helper.join()
    assert child.returncode == 0
    assert not found.built
    assert len(said) == 1
    assert said[0].endswith("another process is building it; waiting")


def test_an_error_of_whoever_shows_the_progress_comes_out(rtx: Flavour, tmp_path: Path) -> None:
    def burst(phase: str, step: int, steps: int) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        engine_for(BUNDLE, bundle.verify(BUNDLE), device=ADA, flavour=rtx, cache=tmp_path / "cache", progress=burst)
    assert _engines(tmp_path / "cache") == []
