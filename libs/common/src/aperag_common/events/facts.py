"""Events: facts that are already true, in the past tense, published from the outbox.

Order between events is not promised: every one carries the document's ``revision`` and readers drop lower ones.
``makers`` of a fact are the services in whose transactions it becomes true: no other may publish it, at NATS and in the
outbox. The reconciler relays what any of them has left.
"""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events.envelope import Data, Message
from aperag_common.services import Service

_GATEWAY, _INDEXER, _RECONCILER = (frozenset({it}) for it in (Service.API, Service.INDEXER, Service.RECONCILER))


class DocumentData(Data):
    """``status`` is the document's after the fact; ``error_code`` is set where the fact is a failure."""

    document_id: str
    collection_id: str
    revision: int
    status: str
    name: str | None = None
    kind: str | None = None
    generation: int | None = None
    workflow_id: str | None = None
    outcome: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class DeadLetterData(Data):
    dead_letter_id: str
    consumer: str
    row_id: str | None
    document_id: str | None
    code: str
    message: str


class CollectionData(Data):
    collection_id: str


class SummarizedData(Data):
    """``documents`` is how many the summary of this ``generation`` was made of; its text is read from the API."""

    collection_id: str
    generation: int
    documents: int


class Fact(Message):
    makers: ClassVar[frozenset[Service]]


class DocumentFact(Fact):
    data: DocumentData


class DocumentUploaded(DocumentFact):
    type_name: ClassVar[str] = "document.uploaded"
    makers = _GATEWAY


class DocumentParsed(DocumentFact):
    type_name: ClassVar[str] = "document.parsed"
    makers = _INDEXER


class DocumentParseFailed(DocumentFact):
    type_name: ClassVar[str] = "document.parse_failed"
    makers = _GATEWAY | _INDEXER


class IndexActivated(DocumentFact):
    type_name: ClassVar[str] = "index.activated"
    makers = _INDEXER


class IndexFailed(DocumentFact):
    type_name: ClassVar[str] = "index.failed"
    makers = _GATEWAY | _INDEXER


class IndexRemoved(DocumentFact):
    type_name: ClassVar[str] = "index.removed"
    makers = _INDEXER


class DocumentIndexed(DocumentFact):
    """A requested change has ended; ``outcome`` is the workflow's status. Published exactly once per workflow."""

    type_name: ClassVar[str] = "document.indexed"
    makers = _GATEWAY | _INDEXER | _RECONCILER


class DocumentDeleted(DocumentFact):
    type_name: ClassVar[str] = "document.deleted"
    makers = _GATEWAY


class CollectionDeleted(Fact):
    type_name: ClassVar[str] = "collection.deleted"
    makers = _GATEWAY | _RECONCILER
    data: CollectionData


class CollectionSummarized(Fact):
    type_name: ClassVar[str] = "collection.summarized"
    makers = _INDEXER
    data: SummarizedData


class StepDeadLettered(Fact):
    type_name: ClassVar[str] = "step.dead_lettered"
    makers = frozenset(Service) - _GATEWAY
    data: DeadLetterData


FACTS: tuple[type[Fact], ...] = (
    DocumentUploaded,
    DocumentParsed,
    DocumentParseFailed,
    IndexActivated,
    IndexFailed,
    IndexRemoved,
    DocumentIndexed,
    DocumentDeleted,
    CollectionDeleted,
    CollectionSummarized,
    StepDeadLettered,
)


def made_by(service: Service) -> tuple[type[Fact], ...]:
    return tuple(fact for fact in FACTS if service in fact.makers)
