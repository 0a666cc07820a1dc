"""`edgebind evaluate` from the command line, on a small tree and tiny bundles."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgebind import cli
from edgebind.cli import evaluate
from edgebind.errors import EdgebindError, MissingDependencyError
from edgebind.evaluate import results
from edgebind.evaluate.datasets import motion
from edgebind.labels import LabelBank
from tests import bundles
from tests.evaluate.datasets import made

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
SPSW = ("x_acc", "y_acc", "z_acc", "x_gyro", "y_gyro", "z_gyro", "timestamp", "label")
BANK = LabelBank(
    tuple(motion.PROMPTS[label] for label in motion.ACTIVITIES),
    np.eye(5, dtype=np.float32),
    "test",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four people who sit, then walk: the first value of a window is large, or the third."""
    folder = tmp_path / "data"
    rng = np.random.default_rng(0)
    for person in range(4):
        rows = []
        for at in range(120):
            label = "SEATED" if at < 60 else "WALKING"
            values = [
                9.0 if label == "SEATED" and at % 10 == 0 else 0.1,
                0,
                9.0 if label == "WALKING" else 0.1,
                0,
                0,
                0,
            ]
            rows.append((*(value + rng.normal(0, 0.01) for value in values), 1000 + 100 * at, label))
        made.table(folder / f"s0{person}" / f"s0{person}_01_sp.csv", SPSW, rows)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return bundles.write(tmp_path / "tiny", replace(bundles.IMU, dim=5), BANK)


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.group, ["evaluate", *map(str, arguments)])


def test_every_task_can_be_named() -> None:
    assert evaluate.TASKS == results.TASKS  # written twice, because help may import nothing heavy


def test_two_encoders_stand_side_by_side(data: Path, model: Path, tmp_path: Path) -> None:
    other = bundles.write(tmp_path / "other", replace(bundles.IMU, dim=5, precision="int8"), BANK)
    out = tmp_path / "out"
    done = _run(model, f"student={other}", "--on", f"spsw:{data}", "--shots", "2", "--seeds", "3", "--out", out)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["plot.png", "report.html", "report.json", "vectors"]
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [(one["name"], one["precision"]) for one in found["encoders"]] == [("tiny", "fp32"), ("student", "int8")]
    tasks = [(one["task"], one["encoder"]) for one in found["results"]]
    assert tasks == [(task, name) for name in ("tiny", "student") for task in ("zero-shot", "few-shot")]
    assert found["results"][2]["metrics"]["same as first"] == 1.0
    assert "SP-SW-HAR · zero-shot" in done.output
    assert done.stdout.splitlines()[0].split() == ["items", "chance", "tiny", "student"]


def test_other_words_and_a_limit(data: Path, model: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.toml"
    # Each class is called what another is called: everything is named wrongly.
    turned = [*motion.ACTIVITIES[1:], motion.ACTIVITIES[0]]
    words.write_text(
        "".join(
            f'[[imu]]\nlabel = "{label}"\ntexts = ["{motion.PROMPTS[other]}"]\n'
            for label, other in zip(motion.ACTIVITIES, turned, strict=True)
        )
    )
    rest = ("--on", f"spsw:{data}", "--task", "zero-shot", "--limit", "40", "--out", tmp_path / "out")
    plain, other = _run(model, *rest), _run(model, *rest, "--prompts", words)
    assert plain.exit_code == other.exit_code == 0, other.output
    assert plain.stdout.splitlines()[2].split()[2] == "40"
    assert float(plain.stdout.splitlines()[2].split()[4]) > float(other.stdout.splitlines()[2].split()[4])


def test_splits_of_one_data_set_are_told_apart(data: Path, model: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(data, twin)
    done = _run(
        *(model, "--task", "zero-shot", "--out", tmp_path / "out"),
        *("--on", f"spsw:{data}", "--on", f"spsw@phone:{data}", "--on", f"spsw:{twin}"),
    )
    assert done.exit_code == 0, done.output
    subjects = [line for line in done.stdout.splitlines() if line.endswith("· zero-shot")]
    assert subjects == [
        f"SP-SW-HAR (spsw:{data.resolve()}) · zero-shot",
        "SP-SW-HAR phone · zero-shot",
        f"SP-SW-HAR (spsw:{twin}) · zero-shot",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "--on", "spsw:{data}"), "nowhere: no model here"),
        (("={model}", "--on", "spsw:{data}"), "a model without a name"),
        (("{model}", "--on", "spsv:{data}"), "unknown data set"),
        (("{model}", "--on", "spsw:{data}/nothing"), "no such folder"),
        (
            ("{model}", "--on", "spsw:{data}", "--task", "retrieval"),
            "there is nothing that these models could be asked",
        ),
        (("{model}", "--on", "spsw:{data}", "--prompts", "none.toml"), "the file of prompts cannot be read"),
        (("{model}", "--on", "spsw:{data}", "--templates", "none.toml"), "the file of templates cannot be read"),
        (("{model}", "--on", "spsw:{data}", "--templates", "a.toml", "--prompts", "b.toml"), "leave one of them out"),
        (
            ("{model}", "--on", "spsw:{data}", "--templates", "{templates}"),
            "these words fit the classes of no data set",
        ),
        (("{model}", "--on", "spsw:{data}", "--backend", "magic"), "unknown backend"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    data: Path, model: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    templates = tmp_path / "templates.toml"
    templates.write_text("imu = ['a person is {}']\n")
    named = {"data": data, "model": model, "templates": templates}
    done = _run(*(one.format_map(named) for one in arguments), "--out", tmp_path / "out")
    assert isinstance(done.exception, EdgebindError)
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_missing_package_is_said_before_anything_is_computed(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = _run(model, "--on", f"spsw:{data}", "--out", tmp_path / "out")
    assert isinstance(done.exception, MissingDependencyError)
    assert "[evaluate]" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_says_where_it_goes_on(data: Path, model: Path, tmp_path: Path) -> None:
    # A reader that never ends stands for a data set that takes hours.
    code = (
        "import sys, time; from edgebind.evaluate.datasets import motion; from edgebind import cli\n"
        "def wait(*_): print('reading', flush=True); time.sleep(60)\n"
        "motion.read_spsw = wait\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "evaluate", str(model), "--on", f"spsw:{data}", "--out", str(tmp_path / "o")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "reading\n"
        os.kill(running.pid, signal.SIGINT)
        _, error = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "the same command goes on there" in error


def test_a_bundle_that_brings_its_prompts_needs_no_torch(data: Path, model: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'sentence_transformers', 'safetensors'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from edgebind import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "evaluate", str(model), "--on", f"spsw:{data}", "--out", str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "report.html").is_file()
