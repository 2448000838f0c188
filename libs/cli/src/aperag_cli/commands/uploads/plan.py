"""Which documents travel together in one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aperag_cli.commands.uploads.walk import Source

COUNT = 50
"""The contract's limit of one request."""
BYTES = 16 * 1024 * 1024
"""What a request that breaks off costs at most, unless one document alone is larger."""


def batches(sources: Iterable[Source], *, count: int = COUNT, size: int = BYTES) -> Iterator[list[Source]]:
    """In the given order; a document larger than ``size`` travels alone."""
    batch: list[Source] = []
    held = 0
    for source in sources:
        if batch and (len(batch) == count or held + source.size > size):
            yield batch
            batch, held = [], 0
        batch.append(source)
        held += source.size
    if batch:
        yield batch
