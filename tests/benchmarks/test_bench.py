"""What a race reports. How fast anything is no test can know; what follows from times that are given it can."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgebind import manifest, power, starter
from edgebind.benchmarks import bundles as races
from edgebind.benchmarks import cold, compare, contestants, energy, latency, pictures, roofline, streams, table
from edgebind.engines import Profile, builder, flavour
from edgebind.errors import BackendError, OptionError
from edgebind.power.meter import Reading
from edgebind.power.recorder import Recorder
from tests import bundles

QUICK = races.Options(seconds=0.1, cold=False, meter="none")


# ------------------------------------------------------------------------------------------------------------- latency


def test_percentiles_ratio_and_drift_follow_from_the_times() -> None:
    wall = np.stack([np.arange(1.0, 301.0), 2 * np.arange(1.0, 301.0)], axis=1)
    one, other = latency.Rounds(("one", "other"), (5.0, 6.0), wall, wall / 2).latencies()
    assert (one.calls, one.first_ms, one.max_ms, one.ratio) == (300, 5.0, 300.0, 1.0)
    assert (one.p50_ms, one.cpu_ms) == (150.5, 75.25)
    assert one.p90_ms == pytest.approx(np.sort(wall[:, 0])[269], abs=0.2)
    assert one.p99_ms < one.p999_ms < one.max_ms
    assert other.ratio == 2.0
    assert one.drift == pytest.approx(250.5 / 50.5, abs=1e-4)  # medians of 201 .. 300 and of 1 .. 100


def test_rounds_go_in_turn_after_the_warm_up() -> None:
    order: list[str] = []
    calls = {name: partial(order.append, name) for name in "ab"}
    raced = latency.rounds(calls, seconds=0, warmup=2, least=3)
    assert "".join(order) == "ab" * (1 + 2 + 3)
    assert raced.wall_ms.shape == (3, 2)


def test_a_call_begins_when_the_last_ones_threads_are_at_rest() -> None:
    clock = Processor(spinning_s=0.035)

    latency.settle(0.02, sleep=clock.sleep, spent_ns=clock.spent_ns)

    assert clock.slept_s == pytest.approx(0.06)  # two pauses with a thread awake, and one without


def test_a_thread_that_never_rests_holds_up_no_race() -> None:
    clock = Processor(spinning_s=1e9)
    latency.settle(0.02, sleep=clock.sleep, spent_ns=clock.spent_ns)
    assert clock.slept_s == pytest.approx(0.02 * latency.RESTS)


class Processor:
    """Its clock, while one thread still spins for some time and the other sleeps, which costs a little too."""

    def __init__(self, spinning_s: float) -> None:
        self.spinning_s, self.slept_s = spinning_s, 0.0

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds

    def spent_ns(self) -> int:
        return int(1e9 * (min(self.slept_s, self.spinning_s) + 0.006 * self.slept_s))


def test_kept_times_are_spread_over_the_run() -> None:
    assert latency.thinned(np.arange(5.0)) == [0, 1, 2, 3, 4]
    kept = latency.thinned(np.arange(10_001.0), most=11)
    assert kept == list(range(0, 10_001, 1000))


# ------------------------------------------------------------------------------------------------------------- streams


def test_callers_of_one_contestant_run_at_once_and_of_two_never() -> None:
    running: set[str] = set()
    seen: list[frozenset[str]] = []

    def call(name: str) -> Any:
        def body() -> None:
            running.add(name)
            time.sleep(0.001)  # long enough that another caller comes in
            seen.append(frozenset(running))
            running.discard(name)

        return body

    rows = streams.race({"a": [call("a0"), call("a1")], "b": [call("b0"), call("b1")]}, seconds=0.1, warmup=0)
    assert frozenset({"a0", "a1"}) in seen
    assert all(len({name[0] for name in together}) == 1 for together in seen)
    assert [row["name"] for row in rows] == ["a", "b"]
    assert rows[0]["ratio"] == 1.0
    assert sum(row["calls"] for row in rows) == len(seen)


def test_a_caller_that_fails_is_heard() -> None:
    def fail() -> None:
        raise BackendError("gone")

    with pytest.raises(BackendError, match="gone"):
        streams._run([fail, lambda: None], 0.01)


# -------------------------------------------------------------------------------------------------------- whole reports


def test_every_contestant_has_a_row_for_every_batch_size(tmp_path: Path) -> None:
    folders = [bundles.write(tmp_path / name) for name in ("one", "other")]
    report = races.measure(folders, replace(QUICK, batches=(1, 3), streams=2))
    assert [(Path(row["bundle"]).name, row["batch"]) for row in report["results"]] == [
        ("one", 1),
        ("other", 1),
        ("one", 3),
        ("other", 3),
    ]
    text = table.to_text(report)
    assert "onnxruntime, 2 callers at once" in text
    assert "batch 3" in text
    assert "no memory: left out on request" in text
    with pytest.raises(OptionError, match=r"batch out of range \(wanted at least 1, got 0\)"):
        races.measure(folders, replace(QUICK, batches=(1, 0)))


def test_a_fresh_process_tells_memory_and_the_first_embedding(tmp_path: Path) -> None:
    found = cold.measure(bundles.write(tmp_path / "b"), batch=2)
    assert found["start_to_first_ms"] > found["load_ms"] + found["first_ms"] > 0
    assert found["peak_mb"] >= found["rss_mb"] > found["rss_before_mb"] > 5
    with pytest.raises(BackendError, match=r"a fresh process could not run it: .*no bundle here"):
        cold.measure(tmp_path / "absent")


def test_no_meter_is_told_with_its_reasons(tmp_path: Path) -> None:
    pytest.importorskip("pynvml")
    report = races.measure([bundles.write(tmp_path / "b")], replace(QUICK, meter="tegrastats"))
    if "energy" not in report["results"][0]:
        assert "no tegrastats" in report["not_measured"]["energy"]
        assert "no energy: no tegrastats" in table.to_text(report)


# -------------------------------------------------------------------------------------------------------------- energy


class _Steady:
    """5 W since it was made, and not a millijoule more."""

    name, covers = "steady", "whole module"

    def read(self) -> Reading:
        return Reading({}, {"all": 5.0 * time.monotonic_ns() / 1e9}, {"gpu": 306.0}, {"tj": 44.5})

    def throttled(self) -> list[str]:
        return ["SwPowerCap"]

    def close(self) -> None:
        pass


def test_energy_is_shared_out_among_the_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [10**12]  # ns; a clock that only sleep moves, so that a busy machine changes nothing
    monkeypatch.setattr(time, "monotonic_ns", lambda: moment[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: moment.__setitem__(0, moment[0] + round(seconds * 1e9)))
    with Recorder(_Steady(), period_s=3600) as recorder:
        found = energy.measure(recorder, {"a": lambda: time.sleep(0.5)}, 4, seconds=10, idle_s=2)["a"]
    assert (found["watts"], found["idle_watts"]) == pytest.approx((5.0, 5.0))
    assert found["above_idle_mj"] == pytest.approx(0.0)
    assert (found["windows"], found["mj_per_embedding"]) == (80, pytest.approx(5.0 * 10 / 80 * 1e3))
    assert (found["meter"], found["covers"]) == ("steady", "whole module")
    assert (found["clocks_mhz"], found["temperatures_c"]) == ({"gpu": 306.0}, {"tj": 44.5})
    assert found["throttled"] == ["SwPowerCap"]


def test_a_report_with_energy_has_its_column_its_plot_and_its_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "LEAST_S", 0.05)
    monkeypatch.setattr(power, "find", lambda name: (_Steady(), {}))
    monkeypatch.setattr(energy.measure, "__kwdefaults__", {"idle_s": 0.05})
    report = races.measure([bundles.write(tmp_path / "b")], replace(QUICK, meter="auto"))
    text = table.to_text(report)
    assert "mJ/window" in text
    assert "note: the GPU was held back: b, batch 1: SwPowerCap" in text
    captions = [caption for caption, _ in pictures.of(report)]
    assert captions == ["What a call takes, batch 1", "Energy a window, whole module"]


# ------------------------------------------------------------------------------------------------------------ roofline


def test_work_is_counted_in_the_graph(tmp_path: Path) -> None:
    with contestants.opened([bundles.write(tmp_path / "b")], ["auto"], 1) as (one,):
        work = roofline.count(one)
    assert work == roofline.Work(macs=60 * 4, weight_bytes=60 * 4 * 4 + 8, window_bytes=60 * 4 + 4 * 4)
    assert work.intensity(2) == pytest.approx(2 * 240 * 2 / (968 + 2 * 256))


@pytest.mark.parametrize("modality", starter.MODALITIES)
def test_quantisation_changes_bytes_and_no_products(modality: str) -> None:
    folders = [starter.folder(modality, precision) for precision in ("fp32", "int8")]
    with contestants.opened(folders, ["auto"], 1) as entrants:
        fp32, int8 = map(roofline.count, entrants)
    assert fp32.macs == int8.macs > 1e6
    assert 0.2 < int8.weight_bytes / fp32.weight_bytes < 0.5


def test_a_call_has_its_place_under_the_roof() -> None:
    roof, work = roofline.Roof(peak_gops=100.0, bandwidth_gbs=10.0), roofline.Work(10_000_000, 10_000_000, 0)
    alone, many = roof.place(work, 1, call_ms=2.0), roof.place(work, 100, call_ms=25.0)
    assert (alone["intensity"], alone["gops"], alone["attainable_gops"], alone["bound_by"]) == (2, 10, 20, "memory")
    assert (alone["of_attainable_percent"], alone["of_peak_percent"]) == (50, 10)
    assert "of_peak_by_processor_percent" not in alone
    spent = roofline.Roof(100.0, 10.0, spent_gops=50.0).place(work, 1, call_ms=2.0, spent_ms=1.0)
    assert spent["of_peak_by_processor_percent"] == 40  # 20 Gop/s of 50
    assert (many["gops"], many["attainable_gops"], many["bound_by"]) == (80, 100, "arithmetic")


KINDS = ["fp32", "fp16", "s8s8", "u8s8", "u8u8"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_products_of_the_peak_are_what_they_say(kind: str) -> None:
    """Against NumPy's products of the same matrices."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(roofline._products(kind, 64, 2), options)
    value = np.random.default_rng(1).uniform(-0.5, 0.5, (3, 64)).astype(np.float32)
    (found,) = session.run(None, {"input": value})
    constant, weights = roofline.matrices(kind, 64, 2)
    wanted = value[:, None] + constant
    for weight in weights:
        wanted = wanted @ weight.astype(np.float32)
    assert found.shape == (3, 64)
    assert np.corrcoef(found.ravel(), wanted.mean(axis=1).ravel())[0, 1] > (0.9 if "8" in kind else 0.9999)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "s8s8"])
def test_tensorrt_takes_the_products(kind: str, tmp_path: Path) -> None:
    rtx, why = flavour.probe("rtx")
    if rtx is None:
        pytest.skip(f"TensorRT-RTX: {why}")
    path = tmp_path / "products.onnx"
    path.write_bytes(roofline._products(kind, 64, 2))
    plan = builder.build(builder.Job(path, rtx, (Profile(1, 1, 16),), ((8, 6),)))
    assert len(plan.data) > 64 * 64


# ---------------------------------------------------------------------------------------------------------- comparison


def _report(times: np.ndarray, **changes: Any) -> dict[str, Any]:
    row = {"bundle": "x/imu", "backend": "onnxruntime", "precision": "int8", "batch": 1, "cpu_ms": 1.0}
    return {
        "format": races.FORMAT,
        "options": {"streams": 1},
        "results": [row | {"times_ms": times.tolist()} | changes],
    }


def test_the_interval_is_scipys_on_times_that_do_not_depend_on_each_other() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    one, other = rng.gamma(9, 1, 800), 1.3 * rng.gamma(9, 1, 800)
    low, high = compare.interval(one, other)
    theirs = stats.bootstrap(
        (one, other),
        lambda a, b, axis: np.median(b, axis=axis) / np.median(a, axis=axis),
        method="percentile",
        n_resamples=2000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.015)
    assert high == pytest.approx(theirs.high, abs=0.015)


def test_times_that_resemble_their_neighbours_prove_less() -> None:
    rng = np.random.default_rng(4)
    slow_waves = np.repeat(rng.gamma(9, 1, 80), 10)
    shuffled = rng.permutation(slow_waves)
    width = [high - low for low, high in (compare.interval(times, times) for times in (slow_waves, shuffled))]
    assert width[0] > 1.5 * width[1]


def test_a_comparison_says_what_is_shown_and_what_is_not() -> None:
    rng = np.random.default_rng(5)
    times = rng.gamma(100, 0.01, 500)
    (same,) = compare.compare(_report(times), _report(rng.permutation(times)))
    (slower,) = compare.compare(_report(times), _report(1.2 * times, cpu_ms=1.1))
    (faster,) = compare.compare(_report(times), _report(0.8 * times))
    assert [row.verdict for row in (same, slower, faster)] == ["no difference shown", "slower", "faster"]
    assert slower.low < 1.2 < slower.high
    assert slower.cpu_ratio == pytest.approx(1.1)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    times = np.ones(10)
    with pytest.raises(OptionError, match="nothing to compare"):
        compare.compare(_report(times), _report(times, batch=2))
    with pytest.raises(OptionError, match="different numbers of callers"):
        compare.compare(_report(times), _report(times) | {"options": {"streams": 2}})
    twins = _report(times) | {"results": _report(times)["results"] * 2}
    with pytest.raises(OptionError, match=r"two bundles of one name in a report \(got imu\)"):
        compare.compare(twins, _report(times))
    path = tmp_path / "r.json"
    for text in ("{}", "[]", "no JSON"):
        path.write_text(text)
        with pytest.raises(OptionError, match=r"r\.json: no report of edgebind bench"):
            compare.read(path)
    with pytest.raises(OptionError, match=r"none\.json: cannot be read \(got No such file"):
        compare.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    "damage",
    [
        {"bundle": None},
        {"batch": [1]},
        {"times_ms": []},
        {"times_ms": [1.0, "x"]},
        {"times_ms": [0.0]},
        {"cpu_ms": "x"},
    ],
)
def test_a_damaged_report_is_one_clear_line(tmp_path: Path, damage: dict[str, Any]) -> None:
    path = tmp_path / "r.json"
    report = _report(np.ones(3))
    path.write_text(json.dumps(report))
    assert compare.read(path) == report
    changes: list[dict[str, Any]] = [{"results": [report["results"][0] | damage]}, {"results": None}, {"options": {}}]
    for broken in changes:
        path.write_text(json.dumps({**report, **broken}))
        with pytest.raises(OptionError, match=r"r\.json: a damaged report"):
            compare.read(path)


def test_bundles_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [bundles.write(tmp_path / side / "imu") for side in ("a", "b")]
    report = races.measure(folders, QUICK)
    assert set(table.names(report).values()) == {str(folder) for folder in folders}
    assert manifest.read(folders[0] / manifest.FILE).precision == report["results"][0]["precision"]
