"""What searches, and clients, have models for that read query and passage together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Ranked(Protocol):
    """``index`` is the document's place in the request."""

    @property
    def index(self) -> int: ...

    @property
    def score(self) -> float: ...


class RerankModels(Protocol):
    async def rerank(
        self, user_id: str, model_id: str, query: str, documents: Sequence[str], top_n: int
    ) -> Sequence[Ranked]:
        """Best first; raises ``Retryable`` or ``Terminal`` with a reason for a person."""
        ...
