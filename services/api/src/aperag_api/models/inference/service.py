"""One question to a model, with the caller's rights to it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.models.inference.schemas import (
    EmbeddingItem,
    EmbeddingsOut,
    EmbeddingsUsage,
    RerankDocument,
    RerankItem,
    RerankOut,
    RerankUsage,
)
from aperag_common import errors
from aperag_models.refs import LOCAL, ModelRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aperag_api.kernel.reranking import RerankModels
    from aperag_api.models.inference.schemas import EmbeddingsRequest, RerankRequest
    from aperag_retrieval.embedding import Embedders

DEADLINE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class InferenceService:
    """``embedders`` know the built-in model too; ``rerankers`` is None where no providers are set up."""

    embedders: Embedders
    rerankers: RerankModels | None

    async def embeddings(self, user_id: str, wanted: EmbeddingsRequest) -> EmbeddingsOut:
        texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
        if not texts or not all(text.strip() for text in texts):
            message = "There is no text to embed: input must be a text, or a list of texts, and none of them empty"
            raise errors.InvalidParameter(message)
        ref = ModelRef(wanted.provider, wanted.model)
        with _told_to_clients(ref):
            async with asyncio.timeout(DEADLINE_SECONDS):
                rows = await (await self.embedders.embedder(user_id, str(ref))).embed(texts)
        words = _words(texts)
        return EmbeddingsOut(
            data=[EmbeddingItem(embedding=row.tolist(), index=index) for index, row in enumerate(rows)],
            model=wanted.model,
            usage=EmbeddingsUsage(prompt_tokens=words, total_tokens=words),
        )

    async def rerank(self, user_id: str, wanted: RerankRequest) -> RerankOut:
        documents = [it if isinstance(it, RerankDocument) else RerankDocument(text=it) for it in wanted.documents]
        texts = [it.text for it in documents]
        if not wanted.query.strip() or not texts or not all(text.strip() for text in texts):
            raise errors.InvalidParameter("Reranking needs a query and at least one document, and none of them empty")
        ref = ModelRef(wanted.provider, wanted.model)
        if self.rerankers is None or ref.provider == LOCAL:
            message = f"Provider {ref.provider} has no rerank model {ref.model}. Add it, or choose one that it has."
            raise errors.ModelNotFound(message)
        with _told_to_clients(ref):
            async with asyncio.timeout(DEADLINE_SECONDS):
                ranked = await self.rerankers.rerank(
                    user_id, str(ref), wanted.query, texts, min(wanted.top_k, len(texts))
                )
        items = [
            RerankItem(
                index=it.index,
                relevance_score=it.score,
                document=documents[it.index] if wanted.return_documents else None,
            )
            for it in ranked
        ]
        return RerankOut(data=items, model=wanted.model, usage=RerankUsage(total_tokens=_words([wanted.query, *texts])))


def _words(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)


@contextmanager
def _told_to_clients(ref: ModelRef) -> Iterator[None]:
    """What a provider refuses is the caller's to mend: another key, another model, another text."""
    try:
        yield
    except (errors.ClientError, errors.Retryable):
        raise
    except errors.Terminal as err:
        raise errors.InvalidParameter(err.message, code=err.error_code) from err
    except TimeoutError as err:
        message = f"{ref} did not answer within {DEADLINE_SECONDS:.0f} s. Try again later."
        raise errors.UpstreamUnavailable(message) from err
