"""What collections and searches need of models: the local encoder always, providers where they are set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.collections.embedding import EmbeddingModels
from aperag_api.searches.reranking import Reranker
from aperag_api.searches.service import SearchService
from aperag_api.searches.waiting import Waiter
from aperag_retrieval.embedding import EmbeddersBesideLocal, NoEmbedders
from aperag_retrieval.search import Searcher

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.events.fanout import Fanout
    from aperag_api.searches.reranking import SearchModels
    from aperag_retrieval.embedding import Embedder


def embedding_models(engine: AsyncEngine, local: Embedder, models: SearchModels | None) -> EmbeddingModels:
    return EmbeddingModels(engine, EmbeddersBesideLocal(local, models or NoEmbedders()))


def search_service(engine: AsyncEngine, fanout: Fanout, local: Embedder, models: SearchModels | None) -> SearchService:
    embedders = EmbeddersBesideLocal(local, models or NoEmbedders())
    return SearchService(engine, Searcher(engine, embedders), Waiter(engine, fanout), local, Reranker(engine, models))
