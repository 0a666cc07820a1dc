"""The least layers to return to float: greedy, with the whole encoder measured after every step, then pruned."""

from __future__ import annotations

from collections.abc import Sequence

from edgebind.calibration import sensitivity
from edgebind.calibration.gate import Bars, Comparison
from edgebind.calibration.sensitivity import Probe

LEAST_SHARE = 0.9
"""Below this share of MACs in INT8 a search stops reaching for the aim; the bars themselves may cost more."""


def layers_in_float(number: int) -> str:
    return f"{number} layer{'' if number == 1 else 's'} in float"


class Search:
    """Which layers to return to float so that `bars` are met, and `aim` where that is cheap, on the windows of a probe."""

    def __init__(self, probe: Probe, bars: Bars, aim: Bars) -> None:
        self._probe = probe
        self._bars = bars
        self._aim = aim
        self.ranking = sensitivity.measure(probe, aim)
        """Layers, first the one that wins most for a microsecond."""
        self._gave_up = False

    def reach(self) -> list[str]:
        """Layers to return, in the order in which they were chosen."""
        kept = self._grown([], self._bars, must=True)
        if self._probe.keeping(kept).meets(self._bars):
            kept = self._pruned(kept, self._bars)
        if self._aim == self._bars:
            return kept
        kept = self._grown(kept, self._aim, must=False)
        if self._probe.keeping(kept).meets(self._aim):
            return self._pruned(kept, self._aim)
        self._gave_up = True
        return kept

    def following(self, kept: Sequence[str], *, must: bool) -> str | None:
        """The next layer to return when other windows miss the bars (`must`) or the aim; None when there is no more."""
        if not must and self._gave_up:
            return None
        return next(iter(self._candidates(kept, must=must)), None)

    def _candidates(self, kept: Sequence[str], *, must: bool) -> list[str]:
        if len(kept) + 1 >= len(self.ranking):  # one layer in INT8 is the least
            return []
        rest = [item.layer for item in self.ranking if item.layer not in kept]
        return rest if must else [name for name in rest if self._probe.subject.share([*kept, name]) >= LEAST_SHARE]

    def _grown(self, kept: Sequence[str], bars: Bars, *, must: bool) -> list[str]:
        """`kept` and what `bars` need beside it. A layer that helps nothing beside the others is passed over at first."""
        grown, idle = list(kept), set[str]()
        current = self._probe.keeping(grown)
        while not current.meets(bars):
            fresh = [name for name in self._candidates(grown, must=must) if name not in idle]
            if not fresh:
                break
            trial = self._tried([*grown, fresh[0]])
            if trial.shortfall(bars) < current.shortfall(bars):
                grown, current = [*grown, fresh[0]], trial
            else:
                idle.add(fresh[0])
        return self._together(grown, bars) if must and not current.meets(bars) else grown

    def _together(self, kept: list[str], bars: Bars) -> list[str]:
        """Layers that help only together, returned one after the other."""
        grown = list(kept)
        while not self._tried(grown).meets(bars):
            rest = self._candidates(grown, must=True)
            if not rest:
                break
            grown.append(rest[0])
        return grown

    def _pruned(self, kept: Sequence[str], bars: Bars) -> list[str]:
        """`kept` without the layers that later ones have made needless, the most costly first."""
        saved = {item.layer: item.saved_us for item in self.ranking}
        left = list(kept)
        for name in sorted(kept, key=lambda layer: -saved[layer]):
            without = [other for other in left if other != name]
            if self._tried(without).meets(bars):
                left = without
        return left

    def _tried(self, kept: Sequence[str]) -> Comparison:
        found = self._probe.keeping(kept)
        self._probe.subject.progress(f"{layers_in_float(len(kept))}: {found}")
        return found
