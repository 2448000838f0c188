"""Makes the first document as quick as the next: loads reader and encoders before anyone waits for them."""

from __future__ import annotations

from collections.abc import Sequence

from aperag_indexer.adapters.extraction import library
from aperag_retrieval.local import encode


def load(models: Sequence[str]) -> None:
    """Runs in a process of the pool."""
    library()
    for model in models:
        encode(model, ("warm",))
