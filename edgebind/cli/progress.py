"""How a long work shows that it moves: one line that is rewritten in a terminal, now and then a new line in a log."""

from __future__ import annotations

import sys
import time

import click

from edgebind.wording import CLEAR

WIDTH = 24
"""Characters of the bar."""
LOG_EVERY_S = 30.0
"""Seconds between two lines of a log."""
TERMINAL_EVERY_S = 0.1


class StatusLine:
    """What is done now, in one line on standard error that is rewritten; in a terminal only."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Put `text` in the place of what was shown before."""
        if self.is_terminal:
            click.echo(f"{CLEAR}{text}", err=True, nl=False)

    def clear(self) -> None:
        """Make room for a line that stays."""
        self.show("")


class ProgressLine:
    """Stages of many steps, on standard error: `progress(stage, step, steps, loss)` as `edgebind.train` calls it.

    `note` stands behind all that, where there is more to say than a loss: how fast it goes.
    """

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._stage = ""
        self._began = (0, 0.0)
        self._shown = 0.0

    def __call__(self, stage: str, step: int, steps: int, loss: float | None = None, note: str = "") -> None:
        """Step `step`, counted from 0, of `steps` is done."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._shown = stage, (step, now), 0.0
        last = step + 1 == steps
        if last or now - self._shown >= (TERMINAL_EVERY_S if self._is_terminal else LOG_EVERY_S):
            self._shown = now
            self._show(
                f"{_text(stage, step + 1, steps, loss)}{self._left(step, steps, now)}{note and f', {note}'}", last
            )

    def _left(self, step: int, steps: int, now: float) -> str:
        first, began = self._began
        if step + 1 == steps or step <= first:
            return ""
        seconds = (now - began) / (step - first) * (steps - step - 1)
        return f", {seconds / 60:.0f} min left" if seconds > 90 else f", {seconds:.0f} s left"

    def _show(self, line: str, last: bool) -> None:
        if self._is_terminal:
            click.echo(f"{CLEAR}{line}", err=True, nl=last)
        else:
            click.echo(line, err=True)


def _text(stage: str, done: int, steps: int, loss: float | None) -> str:
    full = WIDTH * done // steps
    loss_text = "" if loss is None else f", loss {loss:.3f}"
    return f"{stage} [{'#' * full}{'.' * (WIDTH - full)}] {done} of {steps}{loss_text}"
