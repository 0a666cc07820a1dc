"""What a run leaves behind while it runs: `losses.jsonl`, and the same as TensorBoard events.

{"stage": "fold 1 of 4", "step": 12, "loss": 2.31, "imu-text": 2.31}

After a crash both are taken back to the step from which the run goes on, so that no step stands there twice.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from edgebind import atomic
from edgebind.closing import Closing
from edgebind.train import processes
from edgebind.train.engine import Parts

FILE = "losses.jsonl"


class Journal(Closing):
    """The losses of one run folder; process 0 writes, the others keep silent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._stream: Any = None

    def begin(self, stage: str, step: int) -> None:
        """Go on with `stage` at `step`: later lines of it, from a run that was killed, are taken back."""
        if processes.rank():
            return
        self.close()
        path = self._folder / FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if not _is_after(line, stage, step)]
        atomic.write_text(path, "".join(f"{line}\n" for line in kept))
        self._stream = open(path, "a", encoding="utf-8")  # noqa: SIM115
        self._writers = {stage: _events(self._folder / "events" / stage.replace(" ", "-"), step)}

    def write(self, stage: str, step: int, parts: Parts) -> None:
        """Note the loss of one step."""
        if self._stream is None:
            return
        self._stream.write(json.dumps({"stage": stage, "step": step, **parts}) + "\n")
        self._stream.flush()
        for name, value in parts.items():
            self._writers[stage].add_scalar(name, value, step)

    def flush(self) -> None:
        """Bring to disk all that was written: TensorBoard's events would wait for two minutes, and a kill would lose them."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def _is_after(line: str, stage: str, step: int) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return True  # half a line: the process was killed while it wrote
    return bool(entry["stage"] == stage and entry["step"] >= step)


def _events(folder: Path, step: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own imports
        from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)
