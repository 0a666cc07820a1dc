"""A `with` block that ends in `close`: what sources, sinks, backends and bundles have in common."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

_Self = TypeVar("_Self", bound="Closing")


class Closing:
    """Inherit it and say in `close` what to let go of; calling `close` twice must be harmless."""

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
