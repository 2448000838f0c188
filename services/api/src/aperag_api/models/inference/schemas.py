"""Embeddings and reranking as clients see them (contract 1.11)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from aperag_api.kernel.validation import RequestBody, normalised_within

MOST_TEXTS = 1_000
LONGEST_TEXT = 200_000

ProviderName = Annotated[str, Field(min_length=1, max_length=128)]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT), normalised_within(LONGEST_TEXT)]


class EmbeddingsRequest(RequestBody):
    provider: ProviderName
    model: ModelName
    input: Text | Annotated[list[Text], Field(max_length=MOST_TEXTS)]


class EmbeddingItem(BaseModel):
    """A vector of length one; ``index`` is the text's place in the request."""

    object: Literal["embedding"] = "embedding"
    embedding: list[float]
    index: int


class EmbeddingsUsage(BaseModel):
    """In words, as the contract counts them: what a provider bills may differ."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingsUsage


class RerankDocument(BaseModel):
    text: Text
    metadata: dict[str, Any] | None = None


class RerankRequest(RequestBody):
    """``top_k`` may be more than there are documents."""

    provider: ProviderName
    model: ModelName
    query: Text
    documents: Annotated[list[Text | RerankDocument], Field(max_length=MOST_TEXTS)]
    top_k: Annotated[int, Field(ge=1, le=1000)] = 10
    return_documents: bool = True


class RerankItem(BaseModel):
    """``relevance_score`` as the model gives it, best first; ``index`` is the document's place in the request."""

    index: int
    relevance_score: float
    document: RerankDocument | None = None


class RerankUsage(BaseModel):
    """In words."""

    total_tokens: int


class RerankOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[RerankItem]
    model: str
    usage: RerankUsage
