"""Which embedding model a collection's documents are found with: chosen, checked and tried once before it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.kernel.reading import reading
from aperag_api.knowledge.collections import repository
from aperag_common import errors
from aperag_common.db.models.chunk_vector import MOST_DIMENSIONS
from aperag_retrieval.local import MODELS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.knowledge.collections.schemas import CollectionConfig
    from aperag_retrieval.embedding import Embedders
    from aperag_retrieval.local import LocalModel

PROBE = "How long is an embedding?"


@dataclass(frozen=True, slots=True)
class EmbeddingModels:
    """A model's id is ``provider/model``; ``local`` is what the installation has where it has no default."""

    engine: AsyncEngine
    embedders: Embedders
    local: str

    async def default(self) -> str:
        """Of a collection whose owner has chosen none."""
        async with reading(self.engine) as conn:
            return await repository.default_model(conn, "default_for_embedding") or self.local

    async def try_out(self, owner: str, model_id: str) -> None:
        """Raises what a person can act on where documents could not be embedded with it."""
        if model_id in MODELS:
            _require_here(MODELS[model_id])
            return
        await self._offered(owner, model_id)
        try:
            embedder = await self.embedders.embedder(owner, model_id)
            dimensions = (await embedder.embed([PROBE])).shape[1]
        except errors.ClientError:
            raise
        except errors.Terminal as err:
            raise errors.InvalidParameter(err.message) from err
        if dimensions > MOST_DIMENSIONS:
            message = (
                f"Embeddings of {model_id} have {dimensions} dimensions, and at most {MOST_DIMENSIONS} can be kept. "
                "Choose a model whose embeddings are shorter."
            )
            raise errors.InvalidParameter(message)

    async def _offered(self, owner: str, model_id: str) -> None:
        provider, _, model = model_id.partition("/")
        async with reading(self.engine) as conn:
            offer = await repository.embedding_offer(conn, provider, model, owner)
        if not offer.provider:
            message = f"Provider {provider} not found. Add it, or choose one of those that are available."
            raise errors.ProviderNotFound(message)
        if not offer.model:
            message = f"Provider {provider} has no embedding model {model}. Add it, or choose one that it has."
            raise errors.NotFound(message)


def _require_here(model: LocalModel) -> None:
    if (problem := model.problem()) is not None:
        message = f"The embedding model {model.id} does not work on this machine: {problem}. Choose another one."
        raise errors.InvalidParameter(message)


def chosen(config: CollectionConfig) -> str | None:
    """The model id of what a person asks for; None where they ask for none."""
    spec = config.embedding
    if spec is None or (spec.model is None and spec.model_service_provider is None):
        return None
    if not spec.model or not spec.model_service_provider:
        message = "An embedding model needs both its name (model) and its provider (model_service_provider)."
        raise errors.InvalidParameter(message)
    return f"{spec.model_service_provider}/{spec.model}"
