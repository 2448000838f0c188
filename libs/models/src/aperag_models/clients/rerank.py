"""Reranking in the dialects of Jina and Cohere, which agree, and of Alibaba Cloud, which does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aperag_models import failures
from aperag_models.clients.asking import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_models.clients.asking import Endpoint

ALIBABA = "alibabacloud"
_ALIBABA_PATH = "/api/v1/services/rerank/text-rerank/text-rerank"


@dataclass(frozen=True, slots=True)
class Ranked:
    """``index`` is the document's place in the request; ``score`` as the model gives it, higher is better."""

    index: int
    score: float


async def rerank(endpoint: Endpoint, dialect: str, query: str, documents: Sequence[str], top_n: int) -> list[Ranked]:
    """Best first, at most ``top_n``."""
    if not documents:
        return []
    if dialect == ALIBABA:
        # Its address for this lies beside the compatible one that completions use.
        parts = urlsplit(endpoint.base_url)
        body: dict[str, Any] = {
            "model": endpoint.model,
            "input": {"query": query, "documents": list(documents)},
            "parameters": {"top_n": top_n, "return_documents": False},
        }
        answer = await ask(endpoint, f"{parts.scheme}://{parts.netloc}{_ALIBABA_PATH}", body)
        found = (answer.get("output") or {}).get("results")
    else:
        body = {"model": endpoint.model, "query": query, "documents": list(documents), "top_n": top_n}
        answer = await ask(endpoint, f"{endpoint.base_url.rstrip('/')}/rerank", body)
        found = answer.get("results", answer.get("data"))
    return _ranked(endpoint, found, len(documents))[:top_n]


def _ranked(endpoint: Endpoint, found: Any, count: int) -> list[Ranked]:
    try:
        ranked = {int(item["index"]): float(item["relevance_score"]) for item in found}
    except (KeyError, TypeError, ValueError) as err:
        raise failures.not_understood(endpoint.ref, "names no documents with scores") from err
    if not all(0 <= index < count and math.isfinite(score) for index, score in ranked.items()):
        raise failures.not_understood(endpoint.ref, "names documents that were not asked about")
    return [Ranked(*item) for item in sorted(ranked.items(), key=lambda item: (-item[1], item[0]))]
