"""What the routes of collections, documents and searches are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from aperag_api.kernel.services import provided

if TYPE_CHECKING:
    from aperag_api.knowledge.cancellation.service import CancellationService
    from aperag_api.knowledge.chat_documents.service import ChatDocumentService
    from aperag_api.knowledge.collections.service import CollectionService
    from aperag_api.knowledge.contents.service import ContentService
    from aperag_api.knowledge.documents.service import DocumentService
    from aperag_api.knowledge.ingest.service import IngestService
    from aperag_api.knowledge.marketplace.service import MarketplaceService
    from aperag_api.knowledge.searches.service import SearchService
    from aperag_api.knowledge.sharing.service import SharingService
    from aperag_api.knowledge.summaries.service import SummaryService
    from aperag_api.knowledge.uploads.service import UploadService
    from aperag_api.knowledge.web.assembly import Web


@dataclass(frozen=True, slots=True)
class Knowledge:
    cancellation: CancellationService
    chat_documents: ChatDocumentService
    collections: CollectionService
    contents: ContentService
    documents: DocumentService
    ingest: IngestService
    marketplace: MarketplaceService
    searches: SearchService
    sharing: SharingService
    summaries: SummaryService
    uploads: UploadService
    web: Web


Services = Annotated[Knowledge, Depends(provided(Knowledge))]
