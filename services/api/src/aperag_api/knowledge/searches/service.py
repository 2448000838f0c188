"""Searching a collection, one's own or a published one, and keeping what was found."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from aperag_api.access.decide import Right
from aperag_api.access.service import KnownCollections, collection_for
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.collections.schemas import CollectionConfig
from aperag_api.knowledge.searches import repository
from aperag_api.knowledge.searches.reranking import CANDIDATES
from aperag_api.knowledge.searches.reranking import LEG as RERANK
from aperag_api.knowledge.searches.schemas import LegOut, SearchItem, SearchList, SearchOut, SearchSpec
from aperag_common import errors, ids
from aperag_common.jobs.steps import StepKind
from aperag_retrieval.search import LegRequest, SearchOutcome, SearchRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.access.repository import CollectionRow
    from aperag_api.knowledge.searches.reranking import Reranker
    from aperag_api.knowledge.searches.schemas import SearchIn
    from aperag_api.knowledge.searches.waiting import Waiter
    from aperag_retrieval.embedding import EmbeddersBesideLocal
    from aperag_retrieval.search import Hit, Searcher

_ECHOED = set(SearchSpec.model_fields)
MOST_REMEMBERED = 100_000
"""Characters of the items of one search in the history."""
_UNBUILT = ("graph_search", "summary_search", "vision_search")


@dataclass(frozen=True, slots=True)
class SearchService:
    engine: AsyncEngine
    collections: KnownCollections
    searcher: Searcher
    waiter: Waiter
    embedders: EmbeddersBesideLocal
    reranker: Reranker

    async def search(self, user_id: str, collection_id: str, body: SearchIn) -> SearchOut:
        """As the collection's owner; what is kept of it is the user's."""
        collection = await self.collections.open(user_id, collection_id, Right.SEARCH)
        answer = await self._answer(user_id, collection, body)
        return await self._save(user_id, collection_id, answer) if body.save_to_history else answer

    async def search_chat(self, owner: str, collection_id: str | None, chat_id: str, body: SearchIn) -> SearchOut:
        """Among the files of one chat, which lie in this collection of its owner's, if there are any. Nothing is kept."""
        if collection_id is None:
            return SearchOut(**body.model_dump(include=_ECHOED), items=[])
        collection = await self.collections.open(owner, collection_id, Right.SEARCH)
        return await self._answer(owner, collection, body, chat_id)

    async def _answer(
        self, asker: str, collection: CollectionRow, body: SearchIn, chat_id: str | None = None
    ) -> SearchOut:
        if not body.query.strip():
            raise errors.InvalidParameter("The query is blank")
        unseen: Sequence[str] = ()
        request = replace(_request(collection, body), chat_id=chat_id, asker=asker)
        if body.wait_for:
            unseen = await self._wait(collection, request, body)
        outcome = SearchOutcome(items=[], errors={})
        if request.vector or request.fulltext:
            outcome = await self._found(collection, request, rerank=body.rerank)
        return SearchOut(
            **body.model_dump(include=_ECHOED),
            items=[_item(rank, hit) for rank, hit in enumerate(outcome.items, start=1)],
            errors={**outcome.errors, **_unbuilt(body)},
            not_searchable=list(unseen),
        )

    async def list(self, user_id: str, collection_id: str) -> SearchList:
        async with reading(self.engine) as conn:
            await collection_for(conn, user_id, collection_id, Right.SEARCH)
            saved = await repository.list_own(conn, collection_id, user_id)
        return SearchList(
            items=[
                SearchOut(**search.request, **search.items, id=search.id, created=search.created) for search in saved
            ]
        )

    async def delete(self, user_id: str, collection_id: str, search_id: str) -> bool | None:
        """The contract's answer: true, or null where there was nothing to delete."""
        async with self.engine.begin() as conn:
            return await repository.delete(conn, collection_id, search_id, user_id) or None

    async def _found(self, collection: CollectionRow, request: SearchRequest, *, rerank: bool) -> SearchOutcome:
        model = await self.reranker.model() if rerank else None
        if model is not None:
            request = replace(request, at_least=CANDIDATES)
        outcome = await self.searcher.search(request, analyzer=collection.analyzer, model=collection.active_model)
        if model is None:
            return outcome
        items, problem = await self.reranker.order(collection.owner, model, request.query, outcome.items)
        problems = {} if problem is None else {RERANK: problem}
        return SearchOutcome(items[: request.wanted], {**outcome.errors, **problems})

    async def _wait(self, collection: CollectionRow, request: SearchRequest, body: SearchIn) -> Sequence[str]:
        """A local encoder remembers the query, so the time of waiting is used to encode it."""
        encoder = self.embedders.local.get(collection.active_model) if request.vector else None
        asked = [] if encoder is None else [encoder.of(request.asker).embed([body.query], as_queries=True)]
        encoding = asyncio.gather(*asked, return_exceptions=True)  # the search names its failure
        unseen = await self.waiter.not_searchable(
            collection.owner, request.collection_id, body.wait_for, _kinds(body), seconds=body.wait_ms / 1000
        )
        await encoding
        return unseen

    async def _save(self, owner: str, collection_id: str, answer: SearchOut) -> SearchOut:
        search_id = ids.new_search_id()
        async with self.engine.begin() as conn:
            created = await repository.insert(
                conn,
                search_id=search_id,
                owner=owner,
                collection_id=collection_id,
                query=answer.query,
                request=answer.model_dump(mode="json", include=_ECHOED),
                items=_remembered(answer.items),
            )
        return answer if created is None else answer.model_copy(update={"id": search_id, "created": created})


def _remembered(items: Sequence[SearchItem]) -> list[dict[str, Any]]:
    """The first items, as far as they fit: a search may find thousands, and nobody reads them again."""
    kept: list[dict[str, Any]] = []
    left = MOST_REMEMBERED
    for item in items:
        left -= len(item.content)
        if left < 0:
            break
        kept.append(item.model_dump(mode="json"))
    return kept


def _kinds(body: SearchIn) -> list[str]:
    legs = {StepKind.VECTOR: body.vector_search, StepKind.FULLTEXT: body.fulltext_search}
    return [kind.value for kind, leg in legs.items() if leg is not None]


def _request(collection: CollectionRow, body: SearchIn) -> SearchRequest:
    """A leg that the collection has disabled finds nothing, and that is no error."""
    config = CollectionConfig.model_validate(collection.config)
    vector, fulltext = body.vector_search, body.fulltext_search
    return SearchRequest(
        collection_id=collection.id,
        owner=collection.owner,
        query=body.query,
        vector=LegRequest(vector.topk, vector.similarity, None) if vector and config.enable_vector else None,
        fulltext=(
            LegRequest(fulltext.topk, None, tuple(fulltext.keywords) if fulltext.keywords else None)
            if fulltext and config.enable_fulltext
            else None
        ),
    )


def _unbuilt(body: SearchIn) -> dict[str, str]:
    """Searches over indexes that no worker builds are named, never silently empty."""
    asked = [name for name in _UNBUILT if getattr(body, name) is not None]
    return {name: f"no worker builds {name.removesuffix('_search')} indexes here" for name in asked}


def _item(rank: int, hit: Hit) -> SearchItem:
    metadata = {
        **hit.details,
        "source": hit.document_name,
        "name": hit.document_name,
        "recall_type": hit.recall_type,
        "indexer": hit.recall_type.removesuffix("_search"),
        "document_id": hit.document_id,
        "chunk_id": hit.chunk_id,
        **({"snippet": asdict(hit.snippet)} if hit.snippet else {}),
    }
    return SearchItem(
        rank=rank,
        score=float(hit.score),
        content=hit.text,
        source=hit.document_name,
        recall_type=hit.recall_type,
        metadata=metadata,
        legs=[LegOut(**asdict(leg)) for leg in hit.legs],
    )
