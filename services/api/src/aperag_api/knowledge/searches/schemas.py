"""Searches as clients see them (contract 1.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from aperag_api.kernel.validation import BodyPart, RequestBody, normalised_length, normalised_within

TopK = Annotated[int, Field(ge=1, le=1000)]
Similarity = Annotated[float, Field(ge=0, le=1)]
Keyword = Annotated[str, Field(max_length=1000)]

MAX_WAIT_MS = 10_000
LONGEST_QUERY = 10_000
"""Characters; of all keywords together too."""


class VectorSearch(BodyPart):
    topk: TopK = 5
    similarity: Similarity | None = None


class FulltextSearch(BodyPart):
    topk: TopK = 5
    keywords: list[Keyword] | None = Field(None, max_length=100)

    @field_validator("keywords")
    @classmethod
    def _are_short(cls, keywords: list[str] | None) -> list[str] | None:
        if sum(map(normalised_length, keywords or ())) > LONGEST_QUERY:
            raise ValueError(f"the keywords have more than {LONGEST_QUERY:,} characters together")
        return keywords


class GraphSearch(BodyPart):
    topk: TopK = 5


class SimilaritySearch(BodyPart):
    topk: TopK = 5
    similarity: Similarity | None = None


class SearchSpec(BaseModel):
    """What is searched; answers and the history echo it."""

    query: str = Field(min_length=1, max_length=LONGEST_QUERY)
    vector_search: VectorSearch | None = None
    fulltext_search: FulltextSearch | None = None
    graph_search: GraphSearch | None = None
    summary_search: SimilaritySearch | None = None
    vision_search: SimilaritySearch | None = None


class SearchIn(SearchSpec, RequestBody):
    """``wait_for`` names documents or tasks, as an upload's answer does.

    ``rerank`` reads the best hits again with the installation's rerank model; without one it changes nothing.
    """

    save_to_history: bool = True
    query: Annotated[str, normalised_within(LONGEST_QUERY)] = Field(min_length=1, max_length=LONGEST_QUERY)
    rerank: bool = False
    wait_for: list[str] = Field([], max_length=1000)
    wait_ms: int = Field(MAX_WAIT_MS // 2, ge=0, le=MAX_WAIT_MS)


class LegOut(BaseModel):
    """What one kind of search says of a hit: its place there (null where it did not find it by itself), its own score, how
    much it counts, and what of the hit's score it gave.
    """

    leg: str
    rank: int | None
    score: float | None
    weight: float
    share: float


class SearchItem(BaseModel):
    """``legs`` say why it is here; earlier searches of the history have none."""

    rank: int
    score: float | None
    content: str
    source: str
    recall_type: str
    metadata: dict[str, Any]
    legs: list[LegOut] = []


class SearchOut(SearchSpec):
    """``errors`` names the searches that did not work; ``not_searchable`` what ``wait_for`` waited for in vain."""

    id: str | None = None
    items: list[SearchItem]
    created: datetime | None = None
    errors: dict[str, str] = {}
    not_searchable: list[str] = []


class SearchList(BaseModel):
    items: list[SearchOut]
