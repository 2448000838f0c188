"""Makes the first document as quick as the next: loads reader and encoder before anyone waits for them."""

from __future__ import annotations

import importlib

from aperag_retrieval.embedding import encode


def load() -> None:
    """Runs in a process of the pool."""
    importlib.import_module("kreuzberg")
    encode(("warm",))
