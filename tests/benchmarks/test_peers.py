"""Who is raced against whom, and what NVIDIA's programs print. How fast anything is no test can know."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgebind import cli, cuda
from edgebind.benchmarks import outside, peers
from edgebind.errors import BackendError
from edgebind.models import imagebind

TRTEXEC = """\
[04/01/2024-21:10:48] [I] === Performance summary ===
[04/01/2024-21:10:48] [I] Throughput: 9.56737 qps
[04/01/2024-21:10:48] [I] Latency: min = 104.92 ms, max = 106.878 ms, mean = 105.678 ms, median = 105.593 ms, percentile(90%) = 106.558 ms, percentile(95%) = 106.747 ms, percentile(99%) = 106.878 ms
[04/01/2024-21:10:48] [I] Enqueue Time: min = 103.742 ms, max = 105.498 ms, mean = 104.401 ms, median = 104.297 ms, percentile(90%) = 105.173 ms, percentile(95%) = 105.428 ms, percentile(99%) = 105.498 ms
[04/01/2024-21:10:48] [I] H2D Latency: min = 0.438232 ms, max = 0.87085 ms, mean = 0.527107 ms, median = 0.458984 ms, percentile(90%) = 0.635376 ms, percentile(95%) = 0.685303 ms, percentile(99%) = 0.87085 ms
[04/01/2024-21:10:48] [I] GPU Compute Time: min = 103.806 ms, max = 105.511 ms, mean = 104.457 ms, median = 104.337 ms, percentile(90%) = 105.17 ms, percentile(95%) = 105.42 ms, percentile(99%) = 105.511 ms
"""
POLYGRAPHY = "[I] onnxrt-runner-N0-05/13/22-22:35:48  | Completed 1 iteration(s) in 0.1326 ms | Average inference time: 0.1326 ms."


def test_what_trtexec_prints_is_read() -> None:
    found = outside.parse_trtexec(TRTEXEC)
    assert found == {"p50_ms": 105.593, "p99_ms": 106.878, "device_ms": 104.337, "calls_per_second": 9.56737}
    moved = "\n".join(sorted(TRTEXEC.splitlines(), key=lambda line: "] Latency" in line))
    assert outside.parse_trtexec(moved) == found, "H2D's is another latency"
    with pytest.raises(BackendError, match="no performance summary"):
        outside.parse_trtexec("&&&& FAILED TensorRT.trtexec")


def test_what_polygraphy_prints_is_read() -> None:
    assert outside.parse_polygraphy(POLYGRAPHY) == {"mean_ms": 0.1326}
    with pytest.raises(BackendError, match="no inference time"):
        outside.parse_polygraphy("[E] Could not load")


def test_programs_on_the_path_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "polygraphy"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "{POLYGRAPHY}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = outside.measure(Path("e.onnx"), "input", (1, 6, 200))
    assert found == {"polygraphy": {"mean_ms": 0.1326}}
    program.write_text("#!/bin/sh\necho '[E] no GPU' >&2\nexit 1\n")
    with pytest.raises(BackendError, match=r"polygraphy fails: \[E\] no GPU"):
        outside.measure(Path("e.onnx"), "input", (1, 6, 200))


def test_a_tower_that_is_not_known_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--tower", "imu-huge"], peers.command, "peers") == 2
    said = capsys.readouterr().err
    assert said.startswith("edgebind: unknown student (wanted imu-xs or ") and said.count("\n") == 1


@pytest.mark.slow
def test_everybody_runs_the_same_tower(tmp_path: Path) -> None:
    out = tmp_path / "peers.json"
    arguments = ["--tower", "imu-xs", "--seconds", "0.1", "--threads", "1", "--no-compile", "--out", str(out)]
    done = CliRunner().invoke(peers.command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (found,) = json.loads(out.read_text())["towers"]
    if not cuda.driver().is_there:
        assert [row["name"] for row in found["results"]] == [peers.OURS, *peers.BARS]
    ours = found["results"][0]
    assert ours["times_faster"] == 1
    assert {row["calls"] for row in found["results"]} == {ours["calls"]}
    for row in found["results"]:
        assert row["interval"][0] <= row["times_faster"] <= row["interval"][1]
    assert [bar["against"] for bar in found["bars"]] == list(peers.BARS)
    assert found["roofline"]["gmac_per_window"] > 0


@pytest.mark.slow
def test_imagebind_as_published_makes_every_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = replace(imagebind.ARCHITECTURES["imu"], width=32, heads=4, depth=2)
    monkeypatch.setitem(imagebind.ARCHITECTURES, "imu", narrow)
    out = tmp_path / "peers.json"
    arguments = ["--tower", "imagebind-imu", "--seconds", "0.1", "--threads", "1", "--no-compile", "--out", str(out)]
    done = CliRunner().invoke(peers.command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (found,) = json.loads(out.read_text())["towers"]
    if not cuda.driver().is_there:
        assert [row["name"] for row in found["results"]] == [peers.OURS, *peers.BARS, peers.LEANER]
    unread = 250 * (2 * 252 * 32 + 9 * 32 * 32)  # keys: 251 and an extra one
    assert found["published_gmac_per_window"] - found["roofline"]["gmac_per_window"] == pytest.approx(
        unread / 1e9, abs=2e-4
    )
