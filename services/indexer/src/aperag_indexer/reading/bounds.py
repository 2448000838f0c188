"""How much of one document is read: what is larger is refused, and its owner told which limit it is."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Bounds:
    pages: int = 5_000
    cells: int = 2_000_000
    characters: int = 20_000_000


_bounds: ContextVar[Bounds] = ContextVar("bounds", default=Bounds())  # noqa: B039  # frozen


@contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """Holds for what the block reads."""
    token = _bounds.set(bounds)
    try:
        yield
    finally:
        _bounds.reset(token)


def check_pages(found: int) -> None:
    _check("pages", found, _bounds.get().pages)


def check_cells(found: int) -> None:
    """Of one table, the empty ones too: each takes its place in the text."""
    _check("table cells", found, _bounds.get().cells)


def check_characters(found: int) -> None:
    _check("characters", found, _bounds.get().characters)


def _check(what: str, found: int, most: int) -> None:
    if found > most:
        message = f"The document has more than {most:,} {what}. Split it and upload the parts."
        raise errors.DocumentTooLarge(message)
