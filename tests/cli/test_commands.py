"""Every command: it has help, stands in the README, and says one clear line when it cannot go on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgebind import cli, starter
from edgebind.errors import EdgebindError
from tests import bundles, recordings

ROOT = Path(__file__).resolve().parents[2]


def _command(name: str) -> click.Command:
    found = cli.group.get_command(click.Context(cli.group), name)
    assert found is not None
    return found


def _run(*arguments: str | Path) -> Result:
    """One command in this process; EdgebindError comes out as the exception, as `cli.main` would catch it."""
    return CliRunner().invoke(cli.group, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    command = _command(name)
    assert command.help
    silent = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not silent


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_stands_in_the_readme(name: str) -> None:
    assert f"| `edgebind {name}` |" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", *cli.COMMANDS])
def test_help_brings_in_nothing_heavy(name: str) -> None:
    code = (
        "import sys; from edgebind.cli import main; main(sys.argv[1:]);"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy', 'PIL') if m in sys.modules])"
    )
    arguments = [name, "--help"] if name else ["--help"]
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_an_error_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgebind", "inspect", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    line = "no bundle here (wanted a folder with manifest.json); edgebind export makes bundles"
    assert done.stderr.splitlines() == [f"edgebind: {tmp_path}: {line}"]


@pytest.mark.parametrize("arguments", [("inspect", "{folder}"), ("inspect", "{folder}", "--json"), ("--help",)])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folder = bundles.write(tmp_path / "b")
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", "edgebind", *(argument.format(folder=folder) for argument in arguments)]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["doctor", "inspect", "run --sensor imu --speed max"])
def test_output_on_a_full_disk_is_one_line(command: str) -> None:
    words = [*command.split(), *([str(starter.folder("imu", "fp32"))] if command == "inspect" else [])]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgebind", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "edgebind: standard output: No space left on device"
    assert "Traceback" not in done.stderr


def test_a_prompt_that_the_terminal_cannot_show_is_shown_with_escapes(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "跑步")
    done = subprocess.run(
        [sys.executable, "-m", "edgebind", "inspect", str(folder)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 0
    assert b"\\u8dd1\\u6b65: whole" in done.stdout


@pytest.mark.parametrize("arguments", [("doctor",), ("export", "--precision", "fp32")])
def test_a_working_folder_that_is_gone_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """As after `git checkout` in another terminal."""
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'rmdir ../gone; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "edgebind", *arguments],
        cwd=gone,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("edgebind: ")


@pytest.mark.parametrize("closed", [1, 2])
def test_a_service_without_output_is_served(tmp_path: Path, closed: int) -> None:
    out = tmp_path / "e.npz"
    (recording,) = starter.recordings("demo", "imu")
    arguments = ["--bundle", str(starter.folder("imu", "int8")), str(recording), "--out", str(out)]
    command = [sys.executable, "-m", "edgebind", "embed", *arguments]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}>&-', "sh", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size


def test_an_unknown_command_is_refused() -> None:
    assert cli.main(["fly"]) == 2


def test_version_is_told() -> None:
    assert _run("--version").output.startswith("edgebind, version ")


def test_inspect_shows_what_a_bundle_is(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "b")
    shown = _run("inspect", folder)
    assert shown.exit_code == 0, shown.output
    assert "2 files match their hashes" in shown.output
    assert "imu into space 'test', 4 dimensions, fp32" in shown.output
    assert json.loads(_run("inspect", folder, "--json").output)["labels"] == ["a", "b"]


def test_bench_races_bundles(tmp_path: Path) -> None:
    one, other = bundles.write(tmp_path / "one"), bundles.write(tmp_path / "other")
    done = _run("bench", one, other, "--seconds", "0.1", "--json", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "r.json").read_text())
    first, second = report["results"]
    assert first["ratio"] == 1.0
    assert first["calls"] == second["calls"] >= 20
    assert first["cpu_ms"] > 0
    assert 0 < first["p50_ms"] <= first["p90_ms"] <= first["p99_ms"] <= first["max_ms"]
    assert report["machine"]["cpu"]


def test_bench_takes_a_recording_through_the_bundle_in_batches(tmp_path: Path) -> None:
    folder, walk = bundles.write(tmp_path / "b"), tmp_path / "walk.csv"
    walk.write_text(recordings.csv())
    arguments = (
        "bench",
        folder,
        "--recording",
        walk,
        "--seconds",
        "0.1",
        "--batch",
        "4",
        "--json",
        tmp_path / "r.json",
    )
    done = _run(*arguments)
    assert done.exit_code == 0, done.output
    assert "b, 7 windows, batch 4" in done.output
    (road,) = json.loads((tmp_path / "r.json").read_text())["end_to_end"]
    assert (road["windows"], road["batch"]) == (7, 4)
    assert [row["name"].split()[0] for row in road["results"]] == ["bare", "windows", "samples", "samples"]
    assert road["results"][0]["ratio"] == 1.0


def test_bench_keeps_what_it_measured_when_the_recording_is_faulty(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("no,columns\n")
    out = tmp_path / "bench.json"
    folder = bundles.write(tmp_path / "b")
    done = _run("bench", folder, "--seconds", "0.1", "--no-fresh", "--recording", tmp_path / "r.csv", "--json", out)
    assert isinstance(done.exception, EdgebindError)
    assert json.loads(out.read_text())["results"][0]["times_ms"]


def test_bench_compares_two_reports_and_fails_on_a_slower_one(tmp_path: Path) -> None:
    folder, one, other = bundles.write(tmp_path / "b"), tmp_path / "one.json", tmp_path / "other.json"
    done = _run("bench", folder, "--seconds", "0.1", "--batch", "1,2", "--no-fresh", "--json", one)
    assert done.exit_code == 0, done.output
    slower = json.loads(one.read_text())
    for row in slower["results"]:
        row["times_ms"] = [3 * each for each in row["times_ms"]]
    other.write_text(json.dumps(slower))
    told = _run("bench", "--compare", one, other)
    assert (told.exit_code, told.output.count("slower")) == (0, 2)
    failed = _run("bench", "--compare", one, other, "--fail-above", "5")
    assert failed.exit_code == 1
    assert (
        "slower by more than 5 %: b in FP32 on onnxruntime, batch 1, b in FP32 on onnxruntime, batch 2" in failed.output
    )
    assert _run("bench", "--compare", other, one, "--fail-above", "5").exit_code == 0
    assert _run("bench", folder, "--fail-above", "5").exit_code == 2
    assert _run("bench", folder, "--compare", one, other).exit_code == 2


def test_bench_takes_only_bundles_of_a_precision_and_draws_a_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "bench.html"
    done = _run("bench", "--precision", "int8", "--seconds", "0.1", "--no-fresh", "--roofline", "--html", page)
    assert done.exit_code == 0, done.output
    assert "imu-int8, batch 1: 0.005 GMAC a window" in done.output
    assert "imu-fp32" not in done.output
    text = page.read_text()
    assert text.count("<svg") == 2
    assert not re.search(r"""(?:src|href)=["']https?:|<script|@import|url\(http""", text), "needs the network"
    folder = bundles.write(tmp_path / "b")
    assert "no bundle of that precision (wanted int8, got fp32)" in str(
        _run("bench", folder, "--precision", "int8").exception
    )


def test_doctor_looks_everywhere_and_fails_nowhere() -> None:
    findings = json.loads(_run("doctor", "--json").output)
    assert {finding["area"] for finding in findings} == {"machine", "backend", "workstation", "bundle", "sensor"}
    runtime = next(finding for finding in findings if finding["name"] == "onnxruntime")
    assert runtime["ok"]
    assert "CPU" in runtime["detail"]
    assert all(finding["ok"] or finding["remedy"] for finding in findings)
    assert "onnxruntime" in _run("doctor").output


def test_labels_embeds_prompts_in_the_starter_space(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    done = _run("labels", "a dog runs", "a dog is running", "a tax form", "--out", tmp_path / "l.npz")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "l.npz") as archive:
        vectors = archive["embeddings"]
        assert list(archive["prompts"]) == ["a dog runs", "a dog is running", "a tax form"]
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.8
    assert vectors[0] @ vectors[2] < 0.3


@pytest.mark.parametrize(
    ("prompts", "message"), [(["a", "a"], "the same prompt stands twice"), (["  "], "a prompt has no words")]
)
def test_labels_refuses_prompts_that_say_nothing_new(prompts: list[str], message: str, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    done = _run("labels", *prompts, "--out", tmp_path / "l.npz")
    assert isinstance(done.exception, EdgebindError)
    assert message in str(done.exception)
    assert not (tmp_path / "l.npz").exists()
