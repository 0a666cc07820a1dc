"""Starts two processes that meet over gloo, as `torchrun` does on one machine."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import ROOT

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]


def run(*arguments: str) -> None:
    """Run a script, or `-m MODULE`, and what it takes; fail with what it wrote to standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *LAUNCHER, *arguments]
    done = subprocess.run(command, check=False, env=environment, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
