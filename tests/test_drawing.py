from __future__ import annotations

import re

import pytest

from edgebind import drawing


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("span", [(1e-6, 1e-2), (2e-5, 6e-5)])
def test_logarithmic_axes_are_labelled_in_plain_text(span: tuple[float, float]) -> None:
    """Also where less than a power of ten is seen, and no tick would be one."""
    pytest.importorskip("matplotlib")
    with drawing.style():
        figure, (axes,) = drawing.blank(4, 3)
        axes.semilogy([0, 1], span)
        axes.set_title("a $5 bill and a $10 bill")
        found = texts(drawing.svg(figure, "log"))
    assert "a $5 bill and a $10 bill" in found
    assert any(re.fullmatch(r"\de\u22120\d", text) for text in found)
    assert not any("mathdefault" in text for text in found)
