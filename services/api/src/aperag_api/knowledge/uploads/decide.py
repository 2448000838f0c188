"""Which of the received documents are new, which are there already, and which can be confirmed; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.knowledge.uploads.schemas import ConfirmError, FailedConfirmation
from aperag_common import errors
from aperag_common.db.models import DocumentStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_api.knowledge.uploads.repository import NamedDocument
    from aperag_work.accepting import NewDocument
    from aperag_work.document_rows import LockedDocument


@dataclass(frozen=True, slots=True)
class Sorted:
    """``ids`` names the document that answers each received one, in their order."""

    new: list[NewDocument]
    ids: list[str]


def sort_received(received: Sequence[NewDocument], taken: Mapping[str, NamedDocument]) -> Sorted:
    """Same name and same bytes is the same document, however often it is posted; other bytes are a conflict."""
    known: dict[str, NamedDocument | NewDocument] = dict(taken)
    new: list[NewDocument] = []
    answering: list[str] = []
    for document in received:
        existing = known.get(document.name)
        if existing is None:
            known[document.name] = existing = document
            new.append(document)
        elif existing.sha256 != document.sha256:
            message = f"A document named {document.name!r} with other content exists"
            raise errors.DocumentNameConflict(message, details={"document_id": existing.id})
        answering.append(existing.id)
    return Sorted(new, answering)


def confirmable(documents: Mapping[str, LockedDocument], owner: str, collection_id: str) -> dict[str, LockedDocument]:
    """Those whose work a confirmation begins; they count against the owner's quota."""
    return {
        id_: document
        for id_, document in documents.items()
        if _is_here(document, owner, collection_id) and document.status == DocumentStatus.UPLOADED
    }


def refusal(document_id: str, document: LockedDocument | None, owner: str, collection_id: str) -> FailedConfirmation:
    """Why a document that is not confirmable is not."""
    if document is None or not _is_here(document, owner, collection_id):
        return FailedConfirmation(document_id=document_id, error=ConfirmError.DOCUMENT_NOT_FOUND)
    expired = document.status == DocumentStatus.EXPIRED
    error = ConfirmError.DOCUMENT_EXPIRED if expired else ConfirmError.DOCUMENT_NOT_UPLOADED
    return FailedConfirmation(document_id=document_id, name=document.name, error=error)


def _is_here(document: LockedDocument, owner: str, collection_id: str) -> bool:
    """Whether it is the owner's and lives in this collection."""
    return not document.deleted and (document.owner, document.collection_id) == (owner, collection_id)
