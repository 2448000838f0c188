"""Hits in the order of a model that reads query and passage together; in the searches' own order where it cannot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from aperag_api.kernel.reading import reading
from aperag_api.kernel.reranking import RerankModels
from aperag_api.knowledge.searches import repository
from aperag_common import errors
from aperag_retrieval.embedding import Embedders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_retrieval.search import Hit

log = structlog.get_logger(__name__)

CANDIDATES = 50
"""Hits that are read again: more cost a person's time, and what stands behind them is rarely wanted."""
DEADLINE_SECONDS = 10.0
LEG = "rerank"


class SearchModels(Embedders, RerankModels, Protocol):
    """What searches ask providers for."""


@dataclass(frozen=True, slots=True)
class Reranker:
    """``models`` is None where no providers are set up."""

    engine: AsyncEngine
    models: RerankModels | None

    async def model(self) -> str | None:
        """The installation's; without one searches keep their own order, and that is no error."""
        if self.models is None:
            return None
        async with reading(self.engine) as conn:
            return await repository.default_model(conn, "default_for_rerank")

    async def order(self, user_id: str, model_id: str, query: str, hits: Sequence[Hit]) -> tuple[list[Hit], str | None]:
        """The hits, and why they are in the order they came in where they are."""
        if self.models is None or len(hits) == 0:
            return list(hits), None
        head, rest = hits[:CANDIDATES], hits[CANDIDATES:]
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                ranked = await self.models.rerank(user_id, model_id, query, [hit.text for hit in head], len(head))
        except TimeoutError:
            return list(hits), f"{model_id} did not answer within {DEADLINE_SECONDS:.0f} s; the hits are not reranked."
        except errors.ApeRAGError as err:
            log.warning("search.not_reranked", model=model_id, error=err.message)
            return list(hits), err.message
        scores = {item.index: item.score for item in ranked if 0 <= item.index < len(head)}
        named = [replace(head[index], score=score) for index, score in scores.items()]
        unnamed = [hit for index, hit in enumerate(head) if index not in scores]
        return [*sorted(named, key=lambda hit: -hit.score), *unnamed, *rest], None
