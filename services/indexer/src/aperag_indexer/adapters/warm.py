"""Makes the first document as quick as the next: loads reader and encoder before anyone waits for them."""

from __future__ import annotations

from aperag_indexer.adapters.extraction import library
from aperag_retrieval.embedding import encode


def load() -> None:
    """Runs in a process of the pool."""
    library()
    encode(("warm",))
