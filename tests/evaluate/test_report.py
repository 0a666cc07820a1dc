"""A report: every number stands where it belongs, in the terminal, in the page and in the file."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind import drawing
from edgebind.evaluate import page, plots, report
from edgebind.evaluate.dataset import Published
from edgebind.evaluate.report import Report
from edgebind.evaluate.results import Result
from edgebind.preprocess.videos import PUBLISHED

ESC = (Published("top1", random=2.75, text_paired=68.6, imagebind=66.9, supervised=97.0),)
CLASSES = ["dog", "sea_waves", "rain <3"]


def _zero_shot(encoder: str, top1: float, **more: float) -> Result:
    confusion = [[8, 2, 0], [1, 9, 0], [0, 0, 0]]
    return Result(
        "zero-shot",
        "ESC-50",
        encoder,
        2000,
        {"balanced": top1 - 0.01, "top1": top1, **more},
        "top1",
        {"top1": 0.02, "balanced": 0.02},
        ESC,
        {"classes": CLASSES, "confusion": confusion},
    )


def _few_shot(encoder: str, mean: float) -> Result:
    points = [{"shots": shots, "mean": mean + shots / 100, "spread": 0.05 / shots} for shots in (1, 4)]
    metrics = {f"{point['shots']} shots": float(point["mean"]) for point in points}
    details = {"metric": "top1", "points": points, "seeds": [0, 1, 2]}
    return Result(
        "few-shot", "ESC-50", encoder, 2000, metrics, "4 shots", {name: 0.02 for name in metrics}, (), details
    )


def _retrieval(encoder: str) -> Result:
    metrics = {"recall@1": 0.05, "recall@5": 0.2, "recall@10": 0.3, "median rank": 31.0}
    chance = {"recall@1": 0.001, "recall@5": 0.005, "recall@10": 0.01, "median rank": 500.5}
    clotho = (Published("recall@1", imagebind=6.0), Published("recall@10", imagebind=28.4))
    return Result("retrieval", "Clotho: text to audio", encoder, 5225, metrics, "recall@1", chance, clotho)


def _fusion(encoder: str) -> Result:
    metrics = {"recall@1": 0.4, "recall@1 vision alone": 0.35, "recall@1 audio alone": 0.1}
    published = (Published("recall@1 audio+vision", imagebind=36.8),)
    return Result("fusion", "MSR-VTT: text to audio+vision", encoder, 1000, metrics, "recall@1", {}, published)


def _alignment(encoder: str) -> Result:
    metrics = {"nearer": 0.8, "cosine": 0.31, "p": 0.001}
    return Result("alignment", "NYU: depth and vision", encoder, 654, metrics, "nearer", {"nearer": 0.5, "cosine": 0.0})


@pytest.fixture
def found() -> Report:
    results = [
        _zero_shot("teacher", 0.6),
        _few_shot("teacher", 0.5),
        _zero_shot("student", 0.57, **{"same as first": 0.9}),
        _few_shot("student", 0.4),
        *(make("teacher") for make in (_retrieval, _fusion, _alignment)),
    ]
    table: dict[str, Any] = {
        "format": report.FORMAT,
        "edgebind": "0",
        "machine": {"cpu": "a <fast> one"},
        "options": {"limit": 100, "video": asdict(PUBLISHED)},
        "encoders": [
            {
                "name": name,
                "model": f"{name}.pth",
                "space": "s",
                "modality": "audio",
                "dim": 4,
                "precision": "fp32",
                "runtime": "torch",
            }
            for name in ("teacher", "student")
        ],
        "datasets": [{"spec": "esc50:/x", "name": "ESC-50", "notes": {"licence": "CC BY-NC <3.0>"}}],
        "results": [asdict(result) for result in results],
        "left_out": ["toy: no model embeds depth"],
    }
    return dict(json.loads(json.dumps(table)))


def test_rows_put_encoders_side_by_side_with_the_literature(found: Report) -> None:
    rows = {(row.subject, row.title): row for row in report.rows_of(found)}
    top1 = rows["ESC-50", "top-1"]
    assert (top1.items, top1.chance, dict(top1.cells)) == ("2000", "2.0", {"teacher": "60.0", "student": "57.0"})
    assert dict(top1.published) == {"random": "2.75", "text-paired": "68.6", "ImageBind": "66.9", "supervised": "97.0"}
    assert (top1.is_headline, top1.best) == (True, ("teacher",))
    assert dict(rows["ESC-50", "balanced accuracy"].published) == {}
    assert dict(rows["ESC-50", "same answer as teacher"].cells) == {"student": "90.0"}
    assert dict(rows["ESC-50", "top-1 kept of teacher's"].cells) == {"student": "95.0"}
    assert rows["ESC-50", "1 shot"].cells["teacher"] == "51.0 ±5.0"
    assert rows["ESC-50", "4 shots"].task == "few-shot, top-1, mean and spread of 3 draws"
    assert rows["Clotho: text to audio", "R@10"].published == {"ImageBind": "28.4"}
    assert rows["Clotho: text to audio", "median rank"].cells == {"teacher": "31"}
    assert rows["MSR-VTT: text to audio+vision", "R@1"].published == {"ImageBind": "36.8"}
    assert rows["MSR-VTT: text to audio+vision", "R@1 vision alone"].cells == {"teacher": "35.0"}
    assert rows["NYU: depth and vision", "mean cosine"].cells == {"teacher": "0.310"}


def test_encoders_that_see_other_items_have_other_chances(found: Report) -> None:
    for result, chance in zip(found["results"][:3:2], (0.02, 0.031), strict=True):
        result["chance"]["top1"] = chance
    rows = {(row.subject, row.title): row for row in report.rows_of(found)}
    assert rows["ESC-50", "top-1"].chance == "2.0 to 3.1"
    assert rows["ESC-50", "balanced accuracy"].chance == "2.0"


def test_one_draw_has_no_spread(found: Report) -> None:
    found["results"][1]["details"]["seeds"] = [0]
    found["results"][3]["details"]["seeds"] = [0]
    found["options"]["limit"] = 1
    rows = {(row.subject, row.title): row for row in report.rows_of(found)}
    assert rows["ESC-50", "1 shot"].task == "few-shot, top-1, one draw"
    assert rows["ESC-50", "1 shot"].cells["teacher"] == "51.0"
    assert report.warnings_of(found) == ["at most one clip of each question: published numbers are of all of them"]


def test_the_table_in_the_terminal_is_aligned(found: Report) -> None:
    lines = report.as_text(found).splitlines()
    assert lines[-2:] == [
        "note: at most 100 clips of each question: published numbers are of all of them",
        "left out: toy: no model embeds depth",
    ]
    assert lines[1] == "ESC-50 · zero-shot"
    head, line = lines[0], lines[2]
    assert line.split() == ["top-1", "2000", "2.0", "60.0", "57.0", "2.75", "68.6", "66.9", "97.0"]
    for title, value in (("teacher", "60.0"), ("ImageBind", "66.9")):
        assert head.index(title) + len(title) == line.index(value) + len(value)


def test_many_names_become_letters_with_a_legend(found: Report) -> None:
    for at, result in enumerate(found["results"]):
        result["encoder"] = f"a model with a rather long name {at}"
    lines = report.as_text(found).splitlines()
    assert lines[0] == "A  a model with a rather long name 0"
    count = len(found["results"])
    assert lines[count].split()[:2] == ["items", "chance"]
    assert lines[count].split()[2 : 2 + count] == list("ABCDEFG")


class _Page(HTMLParser):
    """Collects what a browser would fetch, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [
            str(v) for k, v in attrs if k in ("src", "href", "xlink:href") and not str(v).startswith(("#", "data:"))
        ]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_is_whole(found: Report, tmp_path: Path) -> None:
    page.write(tmp_path, found)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(html)
    assert (parsed.fetched, parsed.open) == ([], [])
    assert "<script" not in html and "url(http" not in html
    for words in ("a <fast> one", "CC BY-NC <3.0>", "rain <3", "ImageBind, published", "60.0", "at most 100 clips"):
        assert words in parsed.text, words
    assert html.count("<figure") == 6  # all at a glance, confusion, curve, retrieval, fusion, alignment
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size[0] > 1000
        assert np.asarray(picture.convert("L")).std() > 5


def test_names_are_shown_as_they_are(found: Report, tmp_path: Path) -> None:
    """Not as formulas, and not left out of a legend because they begin with a line."""
    names = {"teacher": r"$\frac$", "student": "_student"}
    for result in found["results"]:
        result["encoder"] = names[result["encoder"]]
        result["details"] |= {"classes": ["$1 bill", "$5 bill", "犬"]} if "classes" in result["details"] else {}
    page.write(tmp_path, found)
    parsed = _Page()
    parsed.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    curve = parsed.text.partition("examples of each class")[2]
    for name in (*names.values(), "$5 bill", "犬"):
        assert name in parsed.text
    assert all(name in curve for name in names.values())  # its legend follows its axes


def test_ink_takes_the_colour_of_the_page(found: Report) -> None:
    with drawing.style():
        drawn = drawing.svg(plots.summary(found), "a")
        again = drawing.svg(plots.summary(found), "a")
        other = drawing.svg(plots.summary(found), "b")
    assert drawing.INK not in drawn
    assert "currentColor" in drawn
    assert drawn == again  # no date, no random ids
    ids = [set(re.findall(r'id="(m[0-9a-f]{8,}|p[0-9a-f]{8,})"', one)) for one in (drawn, other)]
    assert ids[0] and not ids[0] & ids[1]  # two figures of one page never share a clip or a marker


def test_a_report_is_kept_as_it_is(found: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "report.json", found)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == found


def test_a_matrix_of_many_classes_has_no_names(found: Report) -> None:
    count = 80
    details = {"classes": [f"class {at}" for at in range(count)], "confusion": np.eye(count, dtype=int).tolist()}
    with drawing.style():
        figure = plots.confusions([{**found["results"][0], "details": details}])
        assert figure is not None
        drawn = drawing.svg(figure, "many")
    assert "class 7" not in drawn
    assert "<image" in drawn
