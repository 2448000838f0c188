"""Collections, documents and searches, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.access.service import KnownCollections
from aperag_api.kernel.memory import Memory
from aperag_api.knowledge.cancellation.service import CancellationService
from aperag_api.knowledge.chat_documents.service import ChatDocumentService
from aperag_api.knowledge.collections.embedding import EmbeddingModels
from aperag_api.knowledge.collections.service import CollectionService
from aperag_api.knowledge.contents.service import ContentService
from aperag_api.knowledge.documents.service import DocumentService
from aperag_api.knowledge.ingest.assembly import open_ingest
from aperag_api.knowledge.marketplace.service import MarketplaceService
from aperag_api.knowledge.searches.reranking import Reranker
from aperag_api.knowledge.searches.service import SearchService
from aperag_api.knowledge.searches.waiting import Waiter
from aperag_api.knowledge.services import Knowledge
from aperag_api.knowledge.sharing.service import SharingService
from aperag_api.knowledge.summaries.service import SummaryService
from aperag_api.knowledge.uploads.arrivals import Arrivals
from aperag_api.knowledge.uploads.intake import Limits
from aperag_api.knowledge.uploads.service import UploadService
from aperag_common.objects import LocalObjectStore
from aperag_retrieval.local import default_model
from aperag_retrieval.search import Searcher

if TYPE_CHECKING:
    from aperag_api.edge.settings import Settings
    from aperag_api.kernel.memory import Memories
    from aperag_api.kernel.streaming.fanout import Fanout
    from aperag_api.knowledge.searches.reranking import SearchModels
    from aperag_api.knowledge.web.assembly import Web
    from aperag_common.auth.vault import Vault
    from aperag_retrieval.embedding import EmbeddersBesideLocal
    from aperag_work.runtime import Runtime
    from aperag_work.scheduler import TaskScheduler


def open_knowledge(
    runtime: Runtime,
    settings: Settings,
    memories: Memories,
    scheduler: TaskScheduler,
    fanout: Fanout,
    web: Web,
    *,
    vault: Vault,
    embedders: EmbeddersBesideLocal,
    models: SearchModels,
) -> Knowledge:
    """``models`` are those of providers."""
    engine, dispatcher, first_due = runtime.engine, runtime.dispatcher, settings.work.first_due
    local = default_model(fast=settings.models.fast)
    known = KnownCollections(engine, Memory("collection", memories))
    searches = SearchService(
        engine, known, Searcher(engine, embedders), Waiter(engine, fanout), embedders, Reranker(engine, models)
    )
    documents = DocumentService(engine, dispatcher, scheduler)
    uploads = _uploads(runtime, settings, known, scheduler)
    return Knowledge(
        cancellation=CancellationService(engine, dispatcher, first_due),
        chat_documents=ChatDocumentService(engine, uploads, documents, searches, local),
        collections=CollectionService(engine, dispatcher, first_due, vault, EmbeddingModels(engine, embedders, local)),
        contents=ContentService(engine, uploads.objects),
        documents=documents,
        ingest=open_ingest(
            runtime, settings.ingest, settings.work, scheduler=scheduler, uploads=uploads, client=web.client
        ),
        marketplace=MarketplaceService(engine),
        searches=searches,
        sharing=SharingService(engine, dispatcher),
        summaries=SummaryService(engine, dispatcher, first_due),
        uploads=uploads,
        web=web,
    )


def _uploads(runtime: Runtime, settings: Settings, known: KnownCollections, scheduler: TaskScheduler) -> UploadService:
    return UploadService(
        runtime.engine,
        runtime.database.durable,
        known,
        LocalObjectStore(settings.objects.directory),
        runtime.dispatcher,
        scheduler,
        Limits(settings.max_document_size, settings.max_documents_per_request, settings.max_staged_documents),
        settings.interactive_documents,
        Arrivals(settings.objects.directory, settings.max_uploads_per_user, settings.min_free_space),
    )
