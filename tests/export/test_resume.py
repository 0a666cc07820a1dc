"""`edgebind export` killed in the middle of its search, for real, and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import os, signal, sys
from edgebind.calibration.journal import Journal
note, noted = Journal.note, 0
def dying(self, *arguments):
    global noted
    note(self, *arguments)
    noted += 1
    if noted == 3:
        os.kill(os.getpid(), signal.SIGKILL)
Journal.note = dying
from edgebind.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(code: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, env=dict(os.environ)
    )


@pytest.mark.slow
def test_an_export_that_is_killed_goes_on_where_it_was(towers: dict[str, Path], walks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["export", "--checkpoint", str(towers["imu"]), "--precision", "int8", "--calibration", str(walks)]
    arguments += ["--out", str(out), "--min-cosine", "0.9999999", "--min-p1", "0"]  # out of reach of INT8
    killed = run(KILLED, arguments)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (out / ".imu-int8.search").is_file()

    again = run("import sys; from edgebind.cli import main; sys.exit(main(sys.argv[1:]))", arguments)
    assert again.returncode == 2
    assert "going on with a search of 3 measurements" in again.stderr
    assert "imu: ranges of" in killed.stderr
    assert "imu: ranges of" not in again.stderr  # nor is it calibrated again
    assert "drifts too far from FP32" in again.stderr.splitlines()[-1]
    assert not out.exists() or list(out.iterdir()) == []
