"""What is wrong with some recordings as calibration, said before they calibrate anything.

error     the ranges would be wrong: unreadable, in other units, dead, one recording twice, far too little
warning   the ranges may be poor: clipped, little varied, or judged on what was never calibrated on
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgebind.calibration.quantise import LEAST_CALIBRATION, LEAST_GATE
from edgebind.calibration.windows import strata
from edgebind.calibration.windows.scan import Scan
from edgebind.calibration.windows.strata import Edges
from edgebind.manifest import WindowSpec

ERROR, WARNING = "error", "warning"

FEW = 100
"""Windows to calibrate on, below which another hundred would still move the ranges; and to judge on, below which a single
label decides about layers."""
CLIPPED = (0.01, 0.2)
"""Share of windows at the sensor's limit: to be told, and too many."""
BLANK = (0.1, 1.0)
"""Share of windows with one value throughout: never too many, since they move no range."""
STILL = 0.1
"""Share of windows in which a channel stands still while others move."""
REPEATED = (0.01, 0.5)
"""Share of windows that were there before."""
ONE_KIND = 0.9
"""Share of windows in one stratum, above which a set knows nothing else."""
UNSEEN = 0.05
"""Share of the judged windows in strata that nothing calibrates."""
BEYOND = 0.25
"""Of the calibrated range: how much further the judged values may reach."""
NARROW = 64
"""Grey levels."""
TURNS = (0.25, 50.0)
"""Between these, accelerometer and gyroscope agree; see `edgebind.calibration.windows.scan`."""
FRAME_UNITS = {
    "thermal": ((20_000, 60_000, "cK"), (2_000, 6_000, "dK"), (200, 400, "K")),
    "depth": ((100, 65_536, "mm"),),
}
"""Median of a frame's values from ... to, as they come in this unit and not in °C or metres."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a diagnosis."""

    severity: str
    """`error` or `warning`."""
    where: str
    """The recording, or empty for the set as a whole."""
    line: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A recording that was scanned, and what it is for."""

    scan: Scan
    sha256: str
    calibrates: np.ndarray
    """(windows,) bool: those it may calibrate with."""
    judges: np.ndarray
    """(windows,) bool: those INT8 is judged on."""


def diagnose(looked: Sequence[Looked], modality: str, spec: WindowSpec, between: Edges) -> list[Finding]:
    """Everything that is odd about some recordings, errors first."""
    whole = [each for each in looked if each.scan.fault is None]
    found = [
        *_faults(looked),
        *_twice(looked),
        *_repeated(whole),
        *_dead(whole, modality, spec),
        *_clipped(whole),
        *_units(whole, modality),
        *_amount(whole),
        *_variety(whole, modality, between),
        *_reach(whole, modality, spec),
        *_narrow(whole),
    ]
    return sorted(found, key=lambda finding: finding.severity != ERROR)


def _faults(looked: Sequence[Looked]) -> Iterator[Finding]:
    for each in looked:
        if each.scan.fault is not None:
            fault = str(each.scan.fault)
            yield Finding(ERROR, each.scan.name, fault.removeprefix(f"{each.scan.fault.where}: "))


def _twice(looked: Sequence[Looked]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for each in looked:
        name = first.setdefault(each.sha256, each.scan.name)
        if name != each.scan.name:
            yield Finding(ERROR, each.scan.name, f"is the same recording as {name}")


def _repeated(looked: Sequence[Looked]) -> Iterator[Finding]:
    for each in looked:
        again = len(each.scan) - len(np.unique(each.scan.digests))
        yield from _share(again / max(1, len(each.scan)), REPEATED, each.scan.name, "of its windows are there twice")
    seen = np.concatenate([each.scan.digests[each.calibrates] for each in looked] or [np.zeros(0, np.uint64)])
    for each in looked:
        if each.judges.any() and not each.calibrates.any():
            known = np.isin(each.scan.digests, seen).mean()
            yield from _share(float(known), REPEATED, each.scan.name, "of its windows, which judge, also calibrate")


def _share(share: float, limits: tuple[float, float], where: str, what: str) -> Iterator[Finding]:
    if share > limits[0]:
        yield Finding(ERROR if share > limits[1] else WARNING, where, f"{share:.0%} {what}")


def _dead(looked: Sequence[Looked], modality: str, spec: WindowSpec) -> Iterator[Finding]:
    for each in looked:
        count, name = max(1, len(each.scan)), each.scan.name
        channels = dict(zip(_channels(len(each.scan.still), modality, spec), each.scan.still.tolist(), strict=True))
        dead = [channel for channel, still in channels.items() if len(each.scan) and still == len(each.scan)]
        if not dead:
            yield from _share(each.scan.blank / count, BLANK, name, "of its windows are blank")
        else:
            what = "channel {} never moves" if len(dead) == 1 else "channels {} never move"
            yield Finding(ERROR, name, f"{what.format(', '.join(dead))}: is the sensor connected?")
        for channel, still in channels.items():
            if channel not in dead and (still - each.scan.blank) / count > STILL:
                line = f"channel {channel} stands still in {still / count:.0%} of its windows: a loose contact?"
                yield Finding(WARNING, name, line)


def _channels(count: int, modality: str, spec: WindowSpec) -> Sequence[str]:
    return spec.channels if len(spec.channels) == count else ["values"]  # of all colours, or of all microphones


def _clipped(looked: Sequence[Looked]) -> Iterator[Finding]:
    for each in looked:
        share = each.scan.saturated / max(1, len(each.scan))
        yield from _share(
            share, CLIPPED, each.scan.name, "of its windows touch the sensor's limit: true peaks are higher"
        )


def _units(looked: Sequence[Looked], modality: str) -> Iterator[Finding]:
    for each in looked:
        if modality == "imu":
            yield from _rotation_unit(each.scan)
        if modality in FRAME_UNITS and len(each.scan) and each.scan.dtype != "uint8":
            yield from _frame_unit(each.scan, modality)


def _rotation_unit(scan: Scan) -> Iterator[Finding]:
    if scan.turning is None:
        return
    if scan.turning < TURNS[0]:
        line = (
            f"turns {1 / scan.turning:.0f} times faster than gravity does in it: in deg/s? then say --units gyro=deg/s"
        )
        yield Finding(ERROR, scan.name, line)
    elif scan.turning > TURNS[1]:
        line = f"turns {scan.turning:.0f} times slower than gravity does in it: is the unit of its rotation right?"
        yield Finding(WARNING, scan.name, line)


def _frame_unit(scan: Scan, modality: str) -> Iterator[Finding]:
    typical = float(np.median(scan.aspects[:, 0]))
    for least, largest, unit in FRAME_UNITS[modality]:
        if least <= typical < largest:
            line = f"values of {typical:.4g} look like {unit}: say --units {modality}={unit}"
            yield Finding(ERROR, scan.name, line)
            return


def _amount(looked: Sequence[Looked]) -> Iterator[Finding]:
    calibrate, judge = sum(int(e.calibrates.sum()) for e in looked), sum(int(e.judges.sum()) for e in looked)
    for count, least, what in ((calibrate, LEAST_CALIBRATION, "calibrate"), (judge, LEAST_GATE, "judge")):
        if count < least:
            yield Finding(ERROR, "", f"{count} windows to {what} on, at least {least} are needed: record more")
    if LEAST_CALIBRATION <= calibrate < FEW:
        yield Finding(WARNING, "", f"only {calibrate} windows to calibrate on; {FEW} and more give steadier ranges")
    if LEAST_GATE <= judge < FEW:
        line = f"only {judge} windows to judge on: one whose label changes costs {1 / judge:.1%} of the agreement"
        yield Finding(WARNING, "", f"{line}, which can send layers back to float")


def _variety(looked: Sequence[Looked], modality: str, between: Edges) -> Iterator[Finding]:
    calibrate = strata_of(looked, between, judged=False)
    judge = strata_of(looked, between, judged=True)
    if not calibrate:
        return
    most, count = calibrate.most_common(1)[0]
    share = count / calibrate.total()
    title = strata.title(modality, most, between)
    if share > ONE_KIND:
        yield Finding(WARNING, "", f"{share:.0%} of the windows are {title}: record other conditions too")
    unseen = sum(many for kind, many in judge.items() if kind not in calibrate)
    if unseen > UNSEEN * max(1, judge.total()):
        kinds = " and ".join(strata.title(modality, kind, between) for kind in sorted(judge) if kind not in calibrate)
        line = f"{unseen / judge.total():.0%} of what judges is of a kind that nothing calibrates ({kinds})"
        yield Finding(WARNING, "", line)


def strata_of(looked: Sequence[Looked], between: Edges, *, judged: bool) -> Counter[int]:
    """How many windows that judge, or that calibrate, lie in each stratum."""
    found: Counter[int] = Counter()
    for each in looked:
        which = each.judges if judged else each.calibrates
        found.update(strata.place(each.scan.aspects[which], between).tolist())
    return found


def _reach(looked: Sequence[Looked], modality: str, spec: WindowSpec) -> Iterator[Finding]:
    """Recordings that only judge, and reach far outside of what calibrates: the ranges would clip them."""
    found = _range([each.scan for each in looked if each.calibrates.any()])
    if found is None:
        return
    low, high = found
    margin = BEYOND * (high - low)
    for each in looked:
        if each.calibrates.any() or not len(each.scan):
            continue
        outside = np.flatnonzero((each.scan.low < low - margin) | (each.scan.high > high + margin)).tolist()
        for place in outside:
            channel = _channels(len(low), modality, spec)[place]
            line = (
                f"{channel} reaches from {each.scan.low[place]:.4g} to {each.scan.high[place]:.4g}, "
                f"but calibration only from {low[place]:.4g} to {high[place]:.4g}"
            )
            yield Finding(WARNING, each.scan.name, line)


def _range(scans: Sequence[Scan]) -> tuple[np.ndarray, np.ndarray] | None:
    """(low, high) of each channel over some recordings; None of nothing, and of prompts."""
    scans = [scan for scan in scans if len(scan.low)]
    if not scans:
        return None
    return np.min([scan.low for scan in scans], axis=0), np.max([scan.high for scan in scans], axis=0)


def _narrow(looked: Sequence[Looked]) -> Iterator[Finding]:
    """Pictures of 8 bits that use few of their levels: another day they will use more."""
    found = _range([each.scan for each in looked if each.calibrates.any() and each.scan.dtype == "uint8"])
    if found is not None:
        levels = int(found[1].max() - found[0].min()) + 1
        if levels < NARROW:
            yield Finding(WARNING, "", f"pictures use {levels} of 256 grey levels: record other scenes too")


@dataclass(frozen=True, slots=True)
class Span:
    """What one channel took in all recordings that calibrate, and in all that judge."""

    channel: str
    calibrated: tuple[float, float] | None
    judged: tuple[float, float] | None


def spans(looked: Sequence[Looked], modality: str, spec: WindowSpec) -> list[Span]:
    """From where to where values reach; a recording that is cut in time counts whole, on both sides."""
    calibrate = _range([each.scan for each in looked if each.calibrates.any()])
    judge = _range([each.scan for each in looked if each.judges.any()])
    if calibrate is None and judge is None:
        return []
    first = calibrate if calibrate is not None else judge
    assert first is not None
    names = _channels(len(first[0]), modality, spec)
    return [Span(name, _pair(calibrate, place), _pair(judge, place)) for place, name in enumerate(names)]


def _pair(found: tuple[np.ndarray, np.ndarray] | None, place: int) -> tuple[float, float] | None:
    return None if found is None else (float(found[0][place]), float(found[1][place]))
