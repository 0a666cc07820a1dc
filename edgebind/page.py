"""A report as one page that needs nothing else, no network, no script; for light and dark screens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfa; --ink: #1b1d21; --soft: #5d636e; --line: #d9dbe0; --card: #ffffff; --best: #0f6b45; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15171b; --ink: #e6e7ea; --soft: #a2a8b3; --line: #33373f; --card: #1c1f25; --best: #6fd3a4; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 2rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; } h3 { font-size: 1rem; margin: 0 0 .4rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .28rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child, .left { text-align: left; }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--ground); }
tr.question td { padding-top: .9rem; font-weight: 600; } td.headline { font-weight: 600; } td.best { color: var(--best); }
td.wrap { white-space: normal; min-width: 14rem; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.note { border-left: 3px solid #d9822b; padding-left: .6rem; }
figure { margin: 0; padding: .9rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; max-width: 100%; }
figure svg { display: block; max-width: 100%; height: auto; color: var(--ink); } figcaption { font-weight: 600; margin-bottom: .5rem; }
figure.glance { margin-top: 1rem; } figure.glance svg { width: 100%; }
svg text { font-family: inherit !important; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """The whole page, of elements that are HTML already."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'


def figure(drawing: str, caption: str, kind: str = "") -> str:
    """A drawing that is HTML already, with a caption that is plain text."""
    return f"<figure class='{kind}'><figcaption>{escape(caption)}</figcaption>{drawing}</figure>"


def listing(heads: Sequence[str], lines: Iterable[Sequence[str]], *, wraps: bool = True) -> str:
    """A table of plain text, whose cells are wide and may be several lines tall if it `wraps`."""
    kind = "left wrap" if wraps else "left"
    head = "".join(f'<th class="left">{escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>" + "".join(f'<td class="{kind}">{escape(cell)}</td>' for cell in line) + "</tr>" for line in lines
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
