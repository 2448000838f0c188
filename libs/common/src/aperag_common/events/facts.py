"""Events: facts that are already true, in the past tense, published from the outbox.

Order between events is not promised: every one carries the document's ``revision`` and readers drop lower ones.
"""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events.envelope import Data, Message


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


class SummaryData(Data):
    """``documents`` is how many the summary of this ``generation`` was made of; its text is read from the API."""

    collection_id: str
    generation: int
    documents: int


class DocumentFact(Message):
    data: DocumentData


class DocumentUploaded(DocumentFact):
    type_name: ClassVar[str] = "document.uploaded"


class DocumentParsed(DocumentFact):
    type_name: ClassVar[str] = "document.parsed"


class DocumentParseFailed(DocumentFact):
    type_name: ClassVar[str] = "document.parse_failed"


class IndexActivated(DocumentFact):
    type_name: ClassVar[str] = "index.activated"


class IndexFailed(DocumentFact):
    type_name: ClassVar[str] = "index.failed"


class IndexRemoved(DocumentFact):
    type_name: ClassVar[str] = "index.removed"


class DocumentIndexed(DocumentFact):
    """A requested change has ended; ``outcome`` is the workflow's status. Published exactly once per workflow."""

    type_name: ClassVar[str] = "document.indexed"


class DocumentDeleted(DocumentFact):
    type_name: ClassVar[str] = "document.deleted"


class CollectionDeleted(Message):
    type_name: ClassVar[str] = "collection.deleted"
    data: CollectionData


class CollectionSummarized(Message):
    type_name: ClassVar[str] = "collection.summarized"
    data: SummaryData


class StepDeadLettered(Message):
    type_name: ClassVar[str] = "step.dead_lettered"
    data: DeadLetterData


FACTS: tuple[type[Message], ...] = (
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
