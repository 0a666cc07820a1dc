"""Two reports of `edgebind bench`, row by row, with intervals that say how sure the difference is.

Of each row the ratio of medians, B by A, and its 95 % interval by a bootstrap: both runs' times are drawn anew, in blocks
of neighbouring calls because neighbours resemble each other (moving block bootstrap; Künsch 1989), their medians are taken
and divided, 2000 times over. The interval knows what varied within the runs. What varies from one run to the next, such
as a machine that was warmer, it cannot know: race both bundles in one run where you can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.benchmarks.bundles import FORMAT
from edgebind.errors import OptionError
from edgebind.text_table import aligned

RESAMPLES = 2000
CONFIDENCE = 0.95

Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """One contestant at one batch size, in both runs."""

    name: str
    before_ms: float
    """Median."""
    after_ms: float
    ratio: float
    """After by before; below 1 is faster."""
    low: float
    high: float
    cpu_ratio: float | None
    """Of the processor's time, which other work on the machine hardly touches."""

    @property
    def verdict(self) -> str:
        if self.low > 1:
            return "slower"
        return "faster" if self.high < 1 else "no difference shown"


def read(path: Path) -> Mapping[str, Any]:
    """A report that `edgebind bench --json` wrote.

    Raises
    ------
    OptionError: missing, not JSON, of another format, damaged, or of two bundles that have one name.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError("cannot be read", where=path, got=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise OptionError("no report of edgebind bench", where=path, got=str(error)) from error
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        got = report.get("format") if isinstance(report, dict) else type(report).__name__
        raise OptionError("no report of edgebind bench", where=path, wanted=FORMAT, got=got)
    if not _is_whole(report):
        raise OptionError("a damaged report", where=path, remedy="measure again with edgebind bench --json")
    return report


def _is_whole(report: Mapping[str, Any]) -> bool:
    """Whether everything that is compared is there, and is of its kind."""
    try:
        rows = _rows(report).values()
        times = [np.asarray(row["times_ms"], np.float64) for row in rows]
        taken = all(each.ndim == 1 and each.size and np.all((each > 0) & (each < np.inf)) for each in times)
        spent = all(isinstance(row.get("cpu_ms", 0.0), int | float) for row in rows)
        return taken and spent and isinstance(report["options"]["streams"], int)
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Rows that both reports have: the same bundle's name, backend, precision and batch.

    Raises
    ------
    OptionError: they have none in common, or were taken with different numbers of callers.
    """
    first, last = _rows(before), _rows(after)
    if before["options"]["streams"] != after["options"]["streams"]:
        counts = (before["options"]["streams"], after["options"]["streams"])
        raise OptionError("the runs had different numbers of callers", wanted=counts[0], got=counts[1])
    common = [key for key in first if key in last]
    if not common:
        raise OptionError("nothing to compare", wanted=_names(first), got=_names(last))
    return [_difference(key, first[key], last[key]) for key in common]


def _rows(report: Mapping[str, Any]) -> dict[Key, Mapping[str, Any]]:
    rows: dict[Key, Mapping[str, Any]] = {}
    for row in report["results"]:
        key = (Path(row["bundle"]).name, row["backend"], row["precision"], row["batch"])
        if key in rows:
            remedy = "measure one of them under another name"
            raise OptionError("two bundles of one name in a report", got=key[0], remedy=remedy)
        rows[key] = row
    return rows


def _names(rows: Mapping[Key, Any]) -> str:
    return "; ".join(_name(key) for key in rows)


def _name(key: Key) -> str:
    bundle, backend, precision, batch = key
    return f"{bundle} in {precision.upper()} on {backend}, batch {batch}"


def _difference(key: Key, before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    one, other = np.array(before["times_ms"]), np.array(after["times_ms"])
    low, high = interval(one, other)
    medians = float(np.median(one)), float(np.median(other))
    spent = (before.get("cpu_ms"), after.get("cpu_ms"))
    cpu = spent[1] / spent[0] if spent[0] and spent[1] else None
    return Difference(_name(key), *medians, medians[1] / medians[0], low, high, cpu)


def interval(
    before: NDArray[np.float64], after: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of median(after) / median(before), at `CONFIDENCE`."""
    rng = np.random.default_rng(seed)
    ratios = _medians(after, resamples, rng) / _medians(before, resamples, rng)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return float(low), float(high)


def paired_interval(ratios: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """The same for the median of ratios that were taken round by round."""
    medians = _medians(ratios, resamples, np.random.default_rng(seed))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return float(low), float(high)


def _medians(times: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Medians of `resamples` new runs, made of blocks of n^(1/3) neighbouring times (the length that Künsch's rule grows with)."""
    count = len(times)
    length = max(1, round(count ** (1 / 3)))
    blocks = -(-count // length)
    starts = rng.integers(0, count - length + 1, (resamples, blocks))
    drawn = times[(starts[:, :, None] + np.arange(length)).reshape(resamples, -1)[:, :count]]
    return np.median(drawn, axis=1)


def to_text(rows: Sequence[Difference], before: Path, after: Path) -> str:
    """Both medians, their ratio with its interval, and what that shows."""
    table = [["", "A ms", "B ms", "B / A", "95 %", "processor", ""]]
    for row in rows:
        cpu = "" if row.cpu_ratio is None else f"{row.cpu_ratio:.3f}"
        span = f"{row.low:.3f} .. {row.high:.3f}"
        numbers = [f"{row.before_ms:.3f}", f"{row.after_ms:.3f}", f"{row.ratio:.3f}"]
        table.append([row.name, *numbers, span, cpu, row.verdict])
    method = f"medians of calls; intervals by a moving block bootstrap within each run, {RESAMPLES} times"
    return "\n".join([f"A {before}", f"B {after}", *aligned(table), method])
