"""Imports without what they load only because it happens to be installed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Within it these libraries are as if they were not installed, unless they are loaded already.

    Other commands of the same installation need them; a service pays some megabytes in each process for nothing.
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how Python knows what is not there
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
