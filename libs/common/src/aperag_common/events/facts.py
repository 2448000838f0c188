"""Events: facts that are already true, in the past tense, published from the outbox.

Order between events is not promised: every one carries the document's ``revision`` and readers drop lower ones.
``makers`` of a fact are the services in whose transactions it becomes true: no other may publish it, at NATS and in the
outbox. The reconciler relays what any of them has left. Docstrings of facts and their data are published, in the AsyncAPI
document and in docs/events.md: they say when a fact is published, for readers who know nothing of the code.
"""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events import accounts, ingests, turns, webhooks
from aperag_common.events.fact import (
    CollectionData,
    CollectionFact,
    DeadLetterData,
    DocumentFact,
    Fact,
    SummarizedData,
)
from aperag_common.services import Service

_GATEWAY, _INDEXER, _RECONCILER = (frozenset({it}) for it in (Service.API, Service.INDEXER, Service.RECONCILER))
_END = _GATEWAY | _INDEXER | _RECONCILER
"""Whoever closes the last open step of a task ends it."""


class DocumentUploaded(DocumentFact):
    """A document was accepted and waits to be indexed. Of an upload in two steps: once it is confirmed."""

    type_name: ClassVar[str] = "document.uploaded"
    makers = _GATEWAY


class DocumentParsed(DocumentFact):
    """The document's text was read and cut into chunks."""

    type_name: ClassVar[str] = "document.parsed"
    makers = _INDEXER


class DocumentParseFailed(DocumentFact):
    """The document could not be read; ``error_code`` says why. Its task ends with ``document.failed``."""

    type_name: ClassVar[str] = "document.parse_failed"
    makers = _GATEWAY | _INDEXER


class IndexActivated(DocumentFact):
    """One index of the document was built, and searches use it from now on; ``kind`` says which."""

    type_name: ClassVar[str] = "index.activated"
    makers = _INDEXER


class IndexFailed(DocumentFact):
    """One index of the document could not be built; ``kind`` says which, ``error_code`` why."""

    type_name: ClassVar[str] = "index.failed"
    makers = _GATEWAY | _INDEXER


class IndexRemoved(DocumentFact):
    """One index of a deleted document was removed."""

    type_name: ClassVar[str] = "index.removed"
    makers = _INDEXER


class DocumentIndexed(DocumentFact):
    """A task ended and the document can be found: ``outcome`` is SUCCESS, or PARTIAL where an index is missing and
    ``error_code`` says why. A task ends with exactly one of ``document.indexed``, ``document.failed``,
    ``document.cancelled``, ``document.superseded`` and ``document.removed``.
    """

    type_name: ClassVar[str] = "document.indexed"
    makers = _END


class DocumentFailed(DocumentFact):
    """A task ended and no index was built (or, of a deleted document, something could not be removed); ``error_code`` and
    ``error_message`` say why.
    """

    type_name: ClassVar[str] = "document.failed"
    makers = _END


class DocumentCancelled(DocumentFact):
    """A task ended because somebody cancelled it. What was built before goes on being searched."""

    type_name: ClassVar[str] = "document.cancelled"
    makers = _END


class DocumentSuperseded(DocumentFact):
    """A task ended because a newer task of the same document, a rebuild or a delete, took its place."""

    type_name: ClassVar[str] = "document.superseded"
    makers = _END


class DocumentExpired(DocumentFact):
    """An upload in two steps was never confirmed, so its file is removed."""

    type_name: ClassVar[str] = "document.expired"
    makers = _RECONCILER


class DocumentDeleted(DocumentFact):
    """A document was deleted: no search finds it any more. Deleting a collection publishes ``collection.deleted`` alone."""

    type_name: ClassVar[str] = "document.deleted"
    makers = _GATEWAY


class DocumentRemoved(DocumentFact):
    """The task of a delete ended: all that was kept of the document is gone."""

    type_name: ClassVar[str] = "document.removed"
    makers = _INDEXER


class CollectionCreated(CollectionFact):
    """A collection was created."""

    type_name: ClassVar[str] = "collection.created"
    makers = _GATEWAY


class CollectionUpdated(CollectionFact):
    """The title, the description or the settings of a collection were saved."""

    type_name: ClassVar[str] = "collection.updated"
    makers = _GATEWAY


class CollectionShared(CollectionFact):
    """A collection was published: other users may subscribe to it and search it."""

    type_name: ClassVar[str] = "collection.shared"
    makers = _GATEWAY


class CollectionUnshared(CollectionFact):
    """A published collection was taken back: only its owner reads it."""

    type_name: ClassVar[str] = "collection.unshared"
    makers = _GATEWAY


class CollectionDeleted(Fact):
    """A collection was deleted with all of its documents."""

    type_name: ClassVar[str] = "collection.deleted"
    makers = _GATEWAY | _RECONCILER
    data: CollectionData


class CollectionSummarized(Fact):
    """A new summary became the collection's description."""

    type_name: ClassVar[str] = "collection.summarized"
    makers = _INDEXER
    data: SummarizedData


class StepDeadLettered(Fact):
    """A job was given up and needs an operator; the dead letter has the details."""

    type_name: ClassVar[str] = "step.dead_lettered"
    makers = frozenset(Service)
    data: DeadLetterData


ENDS: tuple[type[DocumentFact], ...] = (
    DocumentIndexed,
    DocumentFailed,
    DocumentCancelled,
    DocumentSuperseded,
    DocumentRemoved,
)
"""A task of a document ends with exactly one of these."""

FACTS: tuple[type[Fact], ...] = (
    DocumentUploaded,
    DocumentParsed,
    DocumentParseFailed,
    *ENDS,
    DocumentExpired,
    DocumentDeleted,
    IndexActivated,
    IndexFailed,
    IndexRemoved,
    CollectionCreated,
    CollectionUpdated,
    CollectionShared,
    CollectionUnshared,
    CollectionDeleted,
    CollectionSummarized,
    *turns.FACTS,
    *accounts.FACTS,
    *ingests.FACTS,
    StepDeadLettered,
    *webhooks.FACTS,
)


def made_by(service: Service) -> tuple[type[Fact], ...]:
    return tuple(fact for fact in FACTS if service in fact.makers)
