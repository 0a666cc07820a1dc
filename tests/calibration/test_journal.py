from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgebind.calibration import gate, journal
from edgebind.calibration.batches import Batch, Material
from edgebind.calibration.gate import Bars, Comparison
from edgebind.calibration.journal import Journal
from edgebind.calibration.quantise import Options, quantise
from edgebind.errors import GateError
from edgebind.labels import LabelBank

LAYERS = ("c1", "c2", "m", "g")
FOUND = Comparison(20, 0.999123456789, 0.99, 0.98, None)


def test_a_measurement_is_found_again(tmp_path: Path) -> None:
    first = Journal(tmp_path / "state", "key", LAYERS)
    first.note(["c1"], FOUND)
    first.note(["m", "g", "c1"], FOUND)
    first.note_times({"c1": [1.0, 0.5]})
    second = Journal(tmp_path / "state", "key", LAYERS)
    assert second.resumed == 2
    assert second.find(["c1"]) == second.find(["g", "c1", "m"]) == FOUND
    assert second.find(["c1", "m"]) is None
    assert second.times == {"c1": [1.0, 0.5]}


def test_another_search_begins_anew(tmp_path: Path) -> None:
    Journal(tmp_path / "state", "key", LAYERS).note(["c1"], FOUND)
    assert Journal(tmp_path / "state", "other", LAYERS).find(["c1"]) is None


def test_two_searches_at_once_keep_apart_in_one_file(tmp_path: Path) -> None:
    """Two exports with different recordings into one folder: neither takes the other's numbers for its own."""
    path = tmp_path / "state"
    first, second = (Journal(path, key, LAYERS) for key in ("first", "second"))
    first.carry({"ranges": "first"})
    second.carry({"ranges": "second"})
    first.note(["c1"], FOUND)
    second.note(["m"], FOUND)
    path.unlink()  # a third one has ended
    first.note(["g"], FOUND)
    second.carry({"ranges": "second, later"})
    assert Journal(path, "first", LAYERS).find(["g"]) == FOUND
    assert Journal(path, "second", LAYERS).find(["g"]) is None
    assert Journal(path, "second", LAYERS).found == {"ranges": "second, later"}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_halved_line_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "state"
    first = Journal(path, "key", LAYERS)
    first.note(["c1"], FOUND)
    first.note(["m"], FOUND)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(path, "key", LAYERS)
    assert again.find(["c1"]) == FOUND
    again.note(["g"], FOUND)
    assert Journal(path, "key", LAYERS).find(["g"]) == FOUND


def test_the_key_knows_graph_windows_labels_and_what_was_given(walks: list[Batch], bank: LabelBank) -> None:
    keys = {
        journal.key("graph", walks[:1], bank.embeddings),
        journal.key("other", walks[:1], bank.embeddings),
        journal.key("graph", walks[1:2], bank.embeddings),
        journal.key("graph", walks[:1], bank.embeddings[:2]),
        journal.key("graph", walks[:1], bank.embeddings, "ranges"),
    }
    assert len(keys) == 5


def test_a_calibration_is_kept_before_anything_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "state"
    Journal(path, "key", LAYERS).carry({"ranges": "these"})
    again = Journal(path, "key", LAYERS)
    assert (again.found, again.resumed) == ({"ranges": "these"}, 0)


def test_a_calibration_that_was_halved_is_kept_when_it_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "state"
    Journal(path, "key", LAYERS).carry({"ranges": "these"})
    path.write_bytes(path.read_bytes()[:-9])
    again = Journal(path, "key", LAYERS)
    assert again.found is None
    again.carry({"ranges": "these"})
    assert Journal(path, "key", LAYERS).found == {"ranges": "these"}


def test_a_verdict_ends_a_search(spoilt_encoder: Path, walks: list[Batch], bank: LabelBank, tmp_path: Path) -> None:
    (tmp_path / "int8").mkdir()
    with pytest.raises(GateError):
        quantise(
            spoilt_encoder, Material(walks[:4], walks[4:]), Options(Bars(1, 1, 1)), bank=bank,
            scratch=tmp_path / "int8", state=tmp_path / "state",
        )  # fmt: skip
    assert not (tmp_path / "state").exists()


# A child that dies by SIGKILL, from inside, once it has written so many measurements: no timing is involved.
CHILD = """
import os, signal, sys
from pathlib import Path
import numpy as np
from edgebind.calibration import gate
from edgebind.calibration.batches import Batch, Material
from edgebind.calibration.journal import Journal
from edgebind.calibration.quantise import Options, quantise
from edgebind.calibration.switches import Switchboard
from edgebind.labels import LabelBank

folder, dies_after = Path(sys.argv[1]), int(sys.argv[2])
measured = 0
embed, note = Switchboard.embed, Journal.note

def counted(self, *arguments):
    global measured
    measured += 1
    return embed(self, *arguments)

def noted(self, *arguments):
    note(self, *arguments)
    if measured >= dies_after:
        os.kill(os.getpid(), signal.SIGKILL)

Switchboard.embed, Journal.note = counted, noted
data = np.load(folder / "walks.npz")
walks = [Batch(name, data[name]) for name in sorted(data.files)]
(folder / "int8").mkdir(exist_ok=True)
made = quantise(folder / "encoder.fp32.onnx", Material(walks[:4], walks[4:]), Options(gate.INT8, gate.INT8),
                bank=LabelBank.empty(16), scratch=folder / "int8", state=folder / "state")
print(measured, *made.kept)
"""


def _run(folder: Path, dies_after: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, str(folder), str(dies_after)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=dict(os.environ))


@pytest.mark.slow
def test_a_killed_search_goes_on_without_measuring_again(spoilt_encoder: Path, walks: list[Batch]) -> None:
    import numpy as np

    folder = spoilt_encoder.parent
    np.savez(folder / "walks.npz", **{batch.recording: batch.inputs for batch in walks})  # type: ignore[arg-type]
    whole = _run(folder, 10**6)
    assert whole.returncode == 0, whole.stderr
    total, *kept = whole.stdout.split()
    assert not (folder / "state").exists()

    killed = _run(folder, 4)
    assert killed.returncode == -signal.SIGKILL
    lines = [json.loads(line) for line in (folder / "state").read_text().split("\n") if line]
    assert sum("comparison" in line for line in lines) == 2  # two graphs each

    rest = _run(folder, 10**6)
    assert rest.returncode == 0, rest.stderr
    assert rest.stdout.split() == [str(int(total) - 4), *kept]
    assert not (folder / "state").exists()


def test_bars_and_shortfall_worked_by_hand() -> None:
    found = Comparison(10, 0.98, 0.97, 0.9, 0.96)
    assert found.shortfall(gate.INT8) == pytest.approx(1 + 0 + 1)
    assert found.spent(gate.INT8) == pytest.approx(2)
    assert Comparison(10, 1, 1, 1, None).shortfall(Bars(1, 1, 1)) == 0
