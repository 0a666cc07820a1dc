"""Numbers that a page takes from a kept result are those of the result, after rounding."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def kept(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def flowing(page: str) -> str:
    """A page without its line breaks, for numbers that stand in sentences."""
    return " ".join(text(page).split())


def table(page: str, after: str) -> dict[str, list[str]]:
    """The first table behind some words: the first cell of each row -> the others, without emphasis."""
    lines = itertools.dropwhile(lambda line: not line.startswith("|"), text(page).split(after, 1)[1].splitlines())
    _titles, _rule, *rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    cells = ([cell.strip(" *`") for cell in row.strip("|").split("|")] for row in rows)
    return {name: others for name, *others in cells}


def percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %").replace("100.0", "100")


# --- how fast ---------------------------------------------------------------------------------------------------------

RACED = {
    "ONNX Runtime's defaults, torch's own export": "onnxruntime defaults",
    "ONNX Runtime's defaults on our graph": "onnxruntime defaults on our graph",
    "PyTorch eager": "torch eager fp32",
    "PyTorch eager, one token": "torch eager fp32, one token",
}
"""Row of how-to/bench.md -> contestant."""


@pytest.mark.parametrize(("column", "tower"), [(0, "imagebind-imu"), (1, "imagebind-thermal")])
def test_the_race_against_peers(column: int, tower: str) -> None:
    result = next(one for one in kept("peers-cpu.json")["towers"] if one["tower"] == tower)
    rows = {row["name"]: row for row in result["results"]}
    page = table("how-to/bench.md", "The kept race")
    assert page["edgebind"][column] == f"{rows['edgebind']['p50_ms']:.3g} ms"
    for title, name in RACED.items():
        low, high = rows[name]["interval"]
        assert page[title][column] == f"{rows[name]['times_faster']:.2f}x [{low:.2f}, {high:.2f}]", title
    share = result["roofline"]["of_peak_percent"]
    assert page["share of the arithmetic limit that ours reaches"][column] == f"{share:.0f} %"


def test_products_of_imagebinds_towers() -> None:
    """What the towers come to is known from two results, and stands on two pages."""
    towers = kept("imagebind-int8-cpu.json")["towers"]
    published = {one["tower"].removeprefix("imagebind-"): one for one in kept("peers-cpu.json")["towers"]}
    page = table("how-to/export_imagebind.md", "to float32 rounding:")
    for title, (before, after, less) in page.items():
        name = title.split(",")[0].lower()
        assert less == percent(1 - float(after) / float(before)) or name in published, title
        each = towers[name]["gigamacs"] / (3 if name == "audio" else 1)  # clips of a window
        assert float(after) == pytest.approx(each, abs=0.0051), title
    for name, one in published.items():
        title = {"imu": "IMU"}.get(name, name)
        before, after = one["published_gmac_per_window"], one["roofline"]["gmac_per_window"]
        assert page[title] == [f"{before:.2f}", f"{after:.2f}", percent(1 - after / before)]
        assert f"{before:.2f} -> {after:.2f}" in flowing("how-to/bench.md")


@pytest.mark.parametrize("modality", ["imu", "thermal"])
def test_the_sizes_of_students(modality: str) -> None:
    page = table("how-to/distil.md", "## Sizes")
    rows = {title.split("`")[0]: cells for title, cells in page.items()}
    for row in kept("students-cpu.json")["results"][modality]:
        if row["name"] not in rows:
            continue  # the teacher, and ImageBind's tower
        wanted = [f"{row['parameters']:,}", f"{row['macs'] / 1e6:.1f} M", f"{row['p50_ms']:.2f} ms"]
        assert rows[row["name"]][:3] == wanted


def test_the_readmes_times_of_the_starter() -> None:
    result = kept("starter-imu-cpu.json")
    took = {row["precision"]: row["p50_ms"] for row in result["results"]}
    said = f"takes {took['int8']:.2f} ms (INT8) to {took['fp32']:.2f} ms (FP32)"
    assert said in flowing("README.md")
    roads = [{row["name"]: row["ms_a_window"] for row in road["results"]} for road in result["end_to_end"]]
    added = sorted(road["samples to labels"] - road["bare call"] for road in roads)
    low, high = re.findall(r"adds ([\d.]+) to ([\d.]+) ms", flowing("README.md"))[0]
    assert [low, high] == [f"{added[0]:.2f}", f"{added[-1]:.2f}"]


# --- INT8 -------------------------------------------------------------------------------------------------------------


def test_imagebinds_towers_in_int8() -> None:
    towers = kept("imagebind-int8-cpu.json")["towers"]
    page = table("how-to/quantise.md", "The ladder was asked for a mean cosine")
    assert set(page) == set(towers)
    for name, cells in page.items():
        one = towers[name]
        graph = one["graphs"]["encoder.onnx"]
        wanted = [
            f"{graph['cosine_mean']:.5f}",
            f"{graph['cosine_p1']:.5f}",
            percent(one["int8_mac_share"]),
            ", ".join(one["layers"]["float"]) or "none",
            f"{one['speed']['ratio']:.2f}x",
        ]
        assert cells[:5] == wanted, name
        counts = [int(number) for number in re.findall(r"\b\d+\b", cells[5])]
        assert counts[0] == one["windows"]["gate"], name
        assert one["windows"]["calibration"] in counts or len(counts) == 1, name


Rows = Mapping[str, Mapping[str, Any]]


def _best(rows: Rows, kind: str) -> Mapping[str, Any]:
    """Of ONNX Runtime's six ways over the same operators."""
    ways = [row for name, row in rows.items() if name.startswith("ONNX Runtime") and name.endswith(f", {kind}")]
    assert len(ways) == 6
    return max(ways, key=lambda row: row["cosine_mean"])


def _peer_rows(rows: Rows, share: str) -> dict[str, Mapping[str, Any]]:
    """Row of how-to/quantise.md -> that of the result. `share`: of the row of ours that has as much in float as a peer."""
    found = {
        "edgebind, TensorRT graph": rows["edgebind, TensorRT graph"],
        "edgebind, CPU graph": rows["edgebind, CPU graph U8S8"],
        "ONNX Runtime, best of 6, same layers": _best(rows, "layers"),
        "ONNX Runtime, best of 6, its own choice of operators": _best(rows, "all"),
        "edgebind, TensorRT graph, as much in float as Model Optimizer": rows[f"edgebind, TensorRT graph, {share}"],
        "Model Optimizer, max": rows["Model Optimizer max"],
        "Model Optimizer, entropy": rows["Model Optimizer entropy"],
    }
    everything = rows.get("edgebind, TensorRT graph, 100.0%")
    return {**found, "edgebind, TensorRT graph, all in INT8": everything} if everything is not None else found


@pytest.mark.parametrize(
    ("subject", "heading"), [("starter imu", "Starter IMU"), ("starter thermal", "Starter thermal")]
)
def test_quantisers_on_the_starter(subject: str, heading: str) -> None:
    result = next(one for one in kept("quantisers-starter.json")["results"] if one["subject"] == subject)
    rows = {row["name"]: row for row in result["rows"]}
    wanted = _peer_rows(rows, f"{rows['Model Optimizer max']['int8_mac_share']:.1%}")
    page = table("how-to/quantise.md", f"\n{heading}")
    assert set(page) == set(wanted)
    for name, cells in page.items():
        row = wanted[name]
        figures = [f"{row[key]:.6f}" for key in ("cosine_mean", "cosine_p1")]
        assert cells == [*figures, f"{row['agreement']:.2f}", percent(row["int8_mac_share"])], name


def _near(cells: Sequence[str], row: Mapping[str, Any]) -> None:
    """Five digits of six, of which the last may have been rounded either way when it stood in the middle."""
    for cell, key in zip(cells, ("cosine_mean", "cosine_p1"), strict=False):
        assert float(cell) == pytest.approx(row[key], abs=0.0000051)
    assert cells[2] == percent(row["int8_mac_share"])
    assert cells[3] == (f"{row['ratio_to_fp32']:.2f}x" if row["ratio_to_fp32"] is not None else "")


def test_quantisers_on_imagebinds_imu_tower() -> None:
    one_token, every_token = (
        {row["name"]: row for row in one["rows"]} for one in kept("quantisers-imagebind-imu.json")["results"]
    )
    page = table("how-to/quantise.md", "quantisers-imagebind-imu.json")
    earlier = next(title for title in page if "an earlier run" in title)
    ours = every_token["edgebind, TensorRT graph"]["cosine_mean"]
    assert float(re.findall(r"ours had ([\d.]+)", earlier)[0]) == pytest.approx(ours, abs=0.0000051)
    wanted = {
        "edgebind, TensorRT graph": one_token["edgebind, TensorRT graph"],
        "edgebind, CPU graph": one_token["edgebind, CPU graph U8S8"],
        earlier: _best(every_token, "layers"),
        "edgebind, TensorRT graph, `--attention int8": one_token["edgebind, TensorRT graph, attention in INT8"],
        "ONNX Runtime, best of 6, its own choice of operators": _best(one_token, "all"),
        "Model Optimizer, entropy": one_token["Model Optimizer entropy"],
        "Model Optimizer, max": one_token["Model Optimizer max"],
    }
    assert set(page) == set(wanted)
    for name, row in wanted.items():
        _near(page[name], row)


@pytest.mark.parametrize("page", ["CHANGELOG.md", "how-to/quantise.md"])
def test_what_attention_in_int8_costs(page: str) -> None:
    rows = {row["name"]: row for row in kept("quantisers-imagebind-imu.json")["results"][0]["rows"]}
    ours = rows["edgebind, TensorRT graph, attention in INT8"]["cosine_mean"]
    theirs = _best(rows, "all")["cosine_mean"], rows["Model Optimizer entropy"]["cosine_mean"]
    said = {
        "CHANGELOG.md": f"{ours:.5f} where ONNX Runtime has {theirs[0]:.4f} and Model Optimizer {theirs[1]:.3f}",
        "how-to/quantise.md": f"lose {1 - ours:.5f} where ONNX Runtime's lose {1 - theirs[0]:.4f} and Model Optimizer's "
        f"{1 - theirs[1]:.3f}",
    }
    assert said[page] in flowing(page)


def test_no_transform_helps_the_starter() -> None:
    cells = table("how-to/quantise.md", "What was measured, TensorRT graph:")["starter, IMU; thermal"]
    trials = [
        json.loads(text(f"edgebind/starter/{modality}-int8/report.json"))["transforms"]
        for modality in ("imu", "thermal")
    ]
    assert cells[1] == "; ".join(f"{trial[0]['cosine_before']:.5f}" for trial in trials)
    assert not any(each["kept"] for trial in trials for each in trial)


# --- engines and memory -----------------------------------------------------------------------------------------------


def test_builds_ahead() -> None:
    results = kept("builds-rtx.json")["results"]
    assert all(row["same_bytes_twice"] for row in results)
    assert f"Of {len(results)} builds for fixed batch sizes" in flowing("how-to/engines.md")
    thermal = [row for row in results if (row["source"], row["modality"]) == ("imagebind", "thermal")]
    for precision, said in (("int8", "MB in INT8"), ("fp32", "MB in FP32")):
        (size,) = {f"{row['mb']:.0f}" for row in thermal if row["precision"] == precision}
        assert f"{size} {said}" in flowing("how-to/engines.md")
    assert {round(row["cpu_s"]) for row in thermal} <= {2, 3}
    assert "about two seconds of one processor" in flowing("how-to/engines.md")


@pytest.mark.parametrize("page", ["CHANGELOG.md", "how-to/calibrate.md"])
def test_the_memory_of_observers(page: str) -> None:
    observers = kept("observers-cpu.json")["observers"]
    assert f"{observers['windows'] / 1e6:.0f} million" in flowing(page)
    assert f"{observers['growth_mb']:.0f} MB" in flowing(page)


# --- the starter ------------------------------------------------------------------------------------------------------

CARD = "edgebind/starter/MODEL_CARD.md"


@pytest.mark.parametrize("heading", ["### IMU", "### Thermal"])
def test_what_the_card_calls_kept_is_the_students_share(heading: str) -> None:
    for task, (_items, student, _folds, teacher, share) in table(CARD, heading).items():
        half_a_digit = 0.0005 * (1 / float(teacher) + float(student) / float(teacher) ** 2)
        assert float(share.rstrip("%")) / 100 == pytest.approx(
            float(student) / float(teacher), abs=half_a_digit + 0.0005
        ), task


def test_the_guide_to_evaluation_has_the_cards_numbers() -> None:
    card = table(CARD, "### Thermal")
    page = table("how-to/evaluate.md", "The starter's thermal student, six dates")
    for title, (trained, unseen, _mean) in page.items():
        task = title.replace("against the rest", "against rest")
        assert trained == card[f"{task}, margin 0"][1].strip("*")
        figure, share = unseen.split(" (")
        assert figure == card[f"{task}, unseen words, margin 0"][1].strip("*")
        assert share == f"{float(figure) / float(trained):.0%})".replace("%", " %")


def test_the_changelog_says_what_unseen_words_cost_at_most() -> None:
    card = table(CARD, "### Thermal")
    unseen = {task: row for task, row in card.items() if "unseen words" in task and not task.startswith("scene")}
    shares = [float(row[1]) / float(card[task.replace(", unseen words", "")][1]) for task, row in unseen.items()]
    shares += [float(fresh) / float(trained) for trained, fresh, *_ in table(CARD, "Fresh words").values()]
    assert f"keeps at least {math.floor(100 * min(shares))} % of its accuracy on cut-outs" in flowing("CHANGELOG.md")
