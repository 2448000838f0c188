"""Routes of embeddings and reranking (contract 1.11)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Reader
from aperag_api.models.inference.schemas import EmbeddingsOut, EmbeddingsRequest, RerankOut, RerankRequest
from aperag_api.models.services import Services

router = APIRouter(tags=["models"])


@router.post("/embeddings")
async def create_embeddings(body: EmbeddingsRequest, caller: Reader, services: Services) -> EmbeddingsOut:
    return await services.inference.embeddings(caller.user_id, body)


@router.post("/rerank")
async def rerank(body: RerankRequest, caller: Reader, services: Services) -> RerankOut:
    """The documents that fit the query best, best first."""
    return await services.inference.rerank(caller.user_id, body)
