"""Plots of what was measured between two encoders: cosines, windows, layers, ranges. Needs matplotlib (extra: evaluate)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration.report.layers import Depth
from edgebind.drawing import COLOURS, RULE, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 1e-7
"""1 - cosine below which two vectors are the same to float32."""
POINTS = 250
"""Of a line that is drawn; more are not seen and swell the page."""
PIXELS = 112
"""Side of a picture that is drawn."""
TALLEST = 30
"""Bars in one plot."""


def cosines(of: Mapping[str, NDArray[np.float64]], bars: Mapping[str, float] | None = None) -> Figure:
    """How far windows are apart: 1 - cosine, on a logarithmic axis, one outline a graph; bars are what must be reached."""
    figure, (axes,) = blank(6.2, 3.0)
    apart = {name: np.maximum(1 - values, LEAST) for name, values in of.items()}
    low = min(float(values.min()) for values in apart.values())
    high = max(float(values.max()) for values in apart.values())
    bins = np.geomspace(low / 1.2, max(high, *(1 - bar for bar in (bars or {}).values()), 2 * low) * 1.2, 40)
    for colour, (name, values) in zip(COLOURS, apart.items(), strict=False):
        axes.hist(
            values, bins=bins.tolist(), histtype="stepfilled", alpha=0.35, color=colour, edgecolor=colour, label=name
        )
    for name, bar in (bars or {}).items():
        if bar < 1:
            axes.axvline(1 - bar, color=RULE, linestyle="--", linewidth=1)
            axes.text(
                1 - bar, 0.97, f" {name}", transform=axes.get_xaxis_transform(), va="top", fontsize=8, rotation=90
            )
    axes.set_xscale("log")
    axes.set_xlabel("1 - cosine (left is better)")
    axes.set_ylabel("windows")
    if len(of) > 1:
        axes.legend(fontsize=8)
    return figure


def depth(of: Depth) -> Figure:
    """Relative error of every tensor along the graph; the first that departs is marked."""
    figure, (axes,) = blank(9.5, 3.2)
    measured = np.array([tensor.error for tensor in of.tensors])
    errors = np.maximum(measured, np.min(measured[measured > 0], initial=1e-3) / 3)  # zero has no logarithm
    axes.semilogy(np.arange(len(errors)), errors, marker=".", markersize=4, linewidth=1, color=COLOURS[0])
    axes.axhline(of.threshold, color=RULE, linestyle="--", linewidth=1)
    axes.text(len(errors) - 1, of.threshold, "threshold", ha="right", va="bottom", fontsize=8)
    marks = [("first departs", COLOURS[7], of.first), ("grows most", COLOURS[1], of.largest_step)]
    for mark, colour, tensor in marks[: 1 if of.first is not None and of.first == of.largest_step else 2]:
        if tensor is not None:
            at = of.tensors.index(tensor)
            axes.scatter(at, errors[at], s=55, facecolors="none", edgecolors=colour, linewidths=1.8, zorder=3)
            axes.annotate(
                f"{mark}: {tensor.layer}", (at, errors[at]), (6, 8 if colour == COLOURS[7] else -14),
                textcoords="offset points", fontsize=8, color=colour,
            )  # fmt: skip
    axes.set_xlabel("tensor, in the order of execution")
    axes.set_ylabel("relative error")
    axes.grid()
    return figure


def window(inputs: NDArray[Any]) -> Figure | None:
    """One window as its encoder reads it: lines of a signal, or a picture; None of what cannot be seen, as token ids."""
    if inputs.dtype.kind != "f" or inputs.ndim < 2:
        return None
    return _signal(inputs) if inputs.ndim == 2 else _picture(inputs)


def _signal(inputs: NDArray[Any]) -> Figure:
    """(channels, length); six channels are an IMU's, acceleration above rotation."""
    groups = [(0, 3, "acceleration"), (3, 6, "rotation")] if len(inputs) == 6 else [(0, len(inputs), "")]
    figure, panes = blank(4.4, 2.3, len(groups))
    step = max(1, inputs.shape[1] // POINTS)
    for axes, (start, stop, title) in zip(panes, groups, strict=True):
        for colour, line in zip(COLOURS, inputs[start:stop, ::step], strict=False):
            axes.plot(line, linewidth=0.9, color=colour)
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.tick_params(labelsize=7)
    return figure


def _picture(inputs: NDArray[Any]) -> Figure:
    """(..., height, width): the first channel, or three of them as colours."""
    figure, (axes,) = blank(2.3, 2.3)
    step = max(1, max(inputs.shape[-2:]) // PIXELS)
    planes = inputs.reshape(-1, *inputs.shape[-2:])[:, ::step, ::step]
    shown = np.moveaxis(planes[:3], 0, 2) if inputs.ndim == 3 and len(inputs) == 3 else planes[0]
    low, high = np.percentile(shown, (0.5, 99.5))
    axes.imshow(np.clip((shown - low) / max(high - low, 1e-9), 0, 1), cmap="gray", interpolation="nearest")
    axes.set_axis_off()
    return figure


def bars(values: Mapping[str, float], label: str, marked: Sequence[str] = ()) -> Figure:
    """The largest of some values as bars, largest on top; some of them marked by another colour."""
    largest = sorted(values.items(), key=lambda item: -item[1])[:TALLEST]
    figure, (axes,) = blank(7.0, 0.9 + 0.24 * len(largest))
    colours = [COLOURS[1] if name in marked else COLOURS[0] for name, _ in largest]
    axes.barh([name for name, _ in largest], [value for _, value in largest], color=colours)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.grid(axis="x")
    return figure


def clips(
    counts: NDArray[Any], limit: float, chosen: tuple[float, float], others: Mapping[str, tuple[float, float]]
) -> Figure:
    """How often a tensor takes which value, on a logarithmic axis, with the range that was chosen and those that were not.

    Parameters
    ----------
    counts: of equal bins over [-limit, limit].
    """
    figure, (axes,) = blank(5.3, 2.5)
    bins = counts.reshape(-1, max(1, len(counts) // 256)).sum(axis=1)
    edges = np.linspace(-limit, limit, len(bins) + 1)
    used = np.flatnonzero(bins)
    axes.stairs(bins, edges, fill=True, color=RULE, alpha=0.6)
    for colour, (name, span) in zip(COLOURS[1:], others.items(), strict=False):
        _span(axes, span, name, colour, 1.0, ":")
    _span(axes, chosen, "chosen", COLOURS[0], 1.8, "-")
    axes.set_yscale("log")
    low, high = min(edges[used[0]], 0.0), max(edges[used[-1] + 1], 0.0)
    low, high = min(low, chosen[0]) if low < 0 else low, max(high, chosen[1]) if high > 0 else high
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylabel("values")
    figure.legend(fontsize=7, loc="outside right upper")
    return figure


def _span(axes: Axes, span: tuple[float, float], name: str, colour: str, width: float, style: str) -> None:
    for place, value in enumerate(span):
        axes.axvline(value, color=colour, linewidth=width, linestyle=style, label=name if place == 0 else None)
