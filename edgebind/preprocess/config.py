"""Frozen dataclass <-> the plain `preprocess` dictionary of a manifest, strict in both directions.

A constant that a manifest misspells would silently become its default and shift every embedding, so a key that the
class does not know is refused, and so is a value of another type. Keys that have a default may be left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from edgebind.errors import BundleError, OptionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

PLACE = "manifest.json: preprocess"


def to_dict(preprocessor: DataclassInstance) -> dict[str, object]:
    """Every field under its name, with tuples as lists: what `json.dump` writes and `from_dict` reads back equal."""
    values = {field.name: getattr(preprocessor, field.name) for field in fields(preprocessor)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_dict(cls: type[T], config: Mapping[str, object]) -> T:
    """The instance of `cls` that `config` describes; `config` may carry `kind`, which is not compared here.

    Raises
    ------
    BundleError: a key is unknown or missing, a value has another type, or the class itself refuses it.
    """
    known = {field.name: field for field in fields(cls) if field.init}
    _refuse_unknown(config, known)
    hints = get_type_hints(cls)
    values = {name: _convert(config[name], hints[name], name) for name in known if name in config}
    try:
        return cls(**values)
    except OptionError as error:
        raise BundleError(error.what, where=PLACE, wanted=error.wanted, got=error.got, remedy=error.remedy) from error


def _refuse_unknown(config: Mapping[str, object], known: Mapping[str, Field[Any]]) -> None:
    unknown = sorted(str(key) for key in config if key not in known and key != "kind")
    if unknown:
        raise BundleError(
            f"unknown key {unknown[0]!r} for kind {config.get('kind')!r}",
            where=PLACE,
            wanted="one of " + ", ".join(known),
        )
    missing = [name for name, field in known.items() if _is_required(field) and name not in config]
    if missing:
        raise BundleError(f"key {missing[0]!r} is missing", where=PLACE, wanted=f"it for kind {config.get('kind')!r}")


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _convert(value: object, hint: Any, name: str) -> object:
    """`value` as the field's declared type: int, float, str, a tuple of floats, or one of these or None."""
    if get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        return None if value is None else _convert(value, next(h for h in get_args(hint) if h is not type(None)), name)
    if get_origin(hint) is tuple:
        return _floats(value, len(get_args(hint)), name)
    if hint is float:
        return _number(value, name)
    # bool is an int to Python; a manifest that says true where a size belongs is wrong.
    if not isinstance(value, hint) or isinstance(value, bool):
        raise BundleError(f"{name} has another type", where=PLACE, wanted=hint.__name__, got=repr(value))
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BundleError(f"{name} has another type", where=PLACE, wanted="a finite number", got=repr(value))
    return float(value)


def _floats(value: object, length: int, name: str) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != length:
        raise BundleError(
            f"{name} has another type", where=PLACE, wanted=f"{length} numbers in a list", got=repr(value)
        )
    return tuple(_number(item, name) for item in value)


def demand(fits: bool, name: str, wanted: str, got: object) -> None:
    """Raise OptionError unless `fits`: one line for one bad constant of a preprocessor."""
    if not fits:
        raise OptionError(f"{name} does not fit", wanted=wanted, got=repr(got))


def is_size(value: object) -> bool:
    """Whether `value` is a whole number that a picture's side, a number of clips or of frames can have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 100_000


def is_real(*values: object) -> bool:
    """Whether every value is a finite number."""
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)
