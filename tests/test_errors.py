"""A message answers where, what, wanted and got, what to do; the tree in the docstring is the tree in the code."""

from __future__ import annotations

import re

import pytest

from edgebind import errors


def test_message_has_every_part_on_one_line() -> None:
    error = errors.RecordingError(
        "column is missing", where="walk.csv", wanted="x_acc", got="time, wx", remedy="name the columns"
    )
    assert str(error) == "walk.csv: column is missing (wanted x_acc, got time, wx); name the columns"


def test_message_leaves_out_what_is_not_said() -> None:
    assert str(errors.OptionError("unknown precision", got="'int3'")) == "unknown precision (got 'int3')"
    assert str(errors.BundleError("no bundle here")) == "no bundle here"


def test_message_stays_on_one_line_when_a_part_does_not() -> None:
    assert str(errors.BackendError("it said:\n  no\n\tluck")) == "it said: no luck"


def _tree() -> list[type[Exception]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EdgebindError)]


@pytest.mark.parametrize("kind", _tree(), ids=lambda kind: kind.__name__)
def test_docstring_draws_every_error_below_its_parent(kind: type[Exception]) -> None:
    assert errors.__doc__ is not None
    drawn = {
        match[2]: len(match[1])
        for line in errors.__doc__.splitlines()
        if (match := re.match(r"([ │├└─]*)(\w+Error)\b", line))
    }
    names = list(drawn)
    above = [name for name in names[: names.index(kind.__name__)] if drawn[name] < drawn[kind.__name__]]
    parent = kind.__bases__[0].__name__
    assert parent == "Exception" or above[-1] == parent


def test_every_error_tells_its_own_story() -> None:
    assert len({kind.__doc__ for kind in _tree()}) == len(_tree())
