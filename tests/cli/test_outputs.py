"""What a command writes, it tries before the work and not after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgebind import cli, starter
from edgebind.cli.options import Output
from tests.recordings import csv

WRITTEN = {"--out", "--html", "--trtexec", "--cache", "--triton"}


def _options(command: click.Command, path: str) -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _options(found, f"{path} {name}")
    yield from ((path, option) for option in command.params if isinstance(option, click.Option))


def test_every_option_that_names_an_output_is_tried_first() -> None:
    outputs = {
        f"{path} {name}": isinstance(option.type, Output)
        for path, option in _options(cli.group, "edgebind")
        for name in option.opts
        if name in WRITTEN
    }
    assert len(outputs) > 10
    assert [name for name, tried in outputs.items() if not tried] == []


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_bench_measures_nothing_that_it_cannot_keep(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgebind.benchmarks import bundles

    monkeypatch.delattr(bundles, "measure")
    (tmp_path / "file").write_text("")
    assert cli.main(["bench", option, str(tmp_path / "file" / "bench")]) == 2
    assert "a part of the path is a file" in capsys.readouterr().err


def test_an_evaluation_that_cannot_begin_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    arguments = [
        str(starter.folder("imu", "fp32")),
        "--on",
        f"hapt:{tmp_path / 'nowhere'}",
        "--out",
        str(tmp_path / "e"),
    ]
    assert cli.main(["evaluate", *arguments]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        "embed --bundle {imu} walk.csv --out walk.csv",
        "embed --bundle {imu} other.csv walk.csv --out link.csv",
        "run --bundle {imu} --source file:walk.csv --speed max --sink jsonl:./walk.csv",
        "bench {imu} --recording walk.csv --json walk.csv",
        "bench {imu} --recording walk.csv --html walk.csv",
        "compare {imu} {imu} walk.csv --html walk.csv",
        "labels --phrasings walk.csv --out walk.csv",
    ],
)
def test_what_is_read_is_not_written_over(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("walk.csv").write_text(csv())
    Path("other.csv").write_text(csv())
    Path("link.csv").symlink_to("walk.csv")
    assert cli.main(command.format(imu=starter.folder("imu", "fp32")).split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("is read, and would be written over; choose another place")
    assert Path("walk.csv").read_text() == csv()
