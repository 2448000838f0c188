"""What a fact is: its data, and the services that make it true."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from aperag_common.events.envelope import Data, Message

if TYPE_CHECKING:
    from typing import Self

    from aperag_common.services import Service


class DocumentData(Data):
    """A document as it is after the fact; what says nothing about a fact is null."""

    document_id: str
    collection_id: str
    revision: Annotated[int, Field(description="rises with each fact of one document: drop lower ones")]
    status: Annotated[str, Field(description="PENDING, RUNNING, COMPLETE, FAILED, EXPIRED or DELETED")]
    name: str | None = None
    kind: Annotated[str | None, Field(description="the index that it is about, or parse")] = None
    generation: Annotated[int | None, Field(description="which build of it")] = None
    workflow_id: Annotated[str | None, Field(description="the task")] = None
    outcome: Annotated[
        str | None, Field(description="how the task ended: SUCCESS, PARTIAL, FAILED, CANCELLED or SUPERSEDED")
    ] = None
    error_code: Annotated[str | None, Field(description="why something failed")] = None
    error_message: str | None = None


class DeadLetterData(Data):
    """``code`` and ``message`` say why the job was given up; ``dead_letter_id`` is what an operator requeues."""

    dead_letter_id: str
    consumer: str
    row_id: str | None
    document_id: str | None
    code: str
    message: str


class CollectionData(Data):
    """Which collection it is."""

    collection_id: str


class CollectionStateData(CollectionData):
    """A collection after the fact; what else there is of it is read from the API."""

    title: str


class SummarizedData(Data):
    """``documents`` is how many the summary of this ``generation`` was made of; its text is read from the API."""

    collection_id: str
    generation: int
    documents: int


class TurnStartedData(Data):
    """``run`` is 1, and higher where an agent began the turn anew."""

    turn_id: str
    chat_id: str
    run: int


class TurnEndedData(Data):
    """``outcome`` is ``answered``, ``cancelled`` or ``failed``; the answer is read from the API."""

    turn_id: str
    chat_id: str
    outcome: str
    error_code: str | None = None
    error_message: str | None = None


class UserData(Data):
    """Which user it is; the event's owner is the same user."""

    user_id: str


class UserChangeData(UserData):
    """``changed`` is ``quotas`` or ``sign_in`` (a provider's account was linked)."""

    changed: str


class ApiKeyData(Data):
    """Which API key it is; the key itself is in no event."""

    key_id: str


class KeyRevokedData(Data):
    """``reason``: ``revoked``, ``expired`` or ``user_deleted``."""

    key_id: str
    reason: str


class IngestData(Data):
    """What became of an event of another service: ``source``, ``id`` and ``subject`` are the event's own.

    ``source`` and ``id`` are None where the message holds none. ``outcome`` is of one that was carried out, ``code``
    and ``message`` of one that was refused; ``workflow_id`` is the task of the change.
    """

    source: str | None
    id: str | None
    subject: str | None
    collection_id: str | None
    outcome: str | None = None
    document_id: str | None = None
    workflow_id: str | None = None
    code: str | None = None
    message: str | None = None


class WebhookData(Data):
    """``reason``: ``gone`` (the receiver answered 410) or ``failing`` (nothing has arrived since ``failing_since``)."""

    webhook_id: str
    reason: str
    failing_since: datetime | None = None


class Fact(Message):
    """A CloudEvent in its JSON form. Of its attributes ``owner`` and ``causeid`` are extensions of ours: whose it is, and
    the task or message that led to it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        serialize_by_alias=True,
        json_schema_serialization_defaults_required=True,
    )
    makers: ClassVar[frozenset[Service]]

    specversion: Literal["1.0"] = "1.0"
    cause_id: str | None = Field(default=None, alias="causeid")

    @classmethod
    def of(cls, data: Data, *, source: str, subject: str, owner: str, cause_id: str | None = None) -> Self:
        """``source`` is the service that makes it true, ``subject`` the id of what it is about."""
        return cls(source=source, type=cls.type_name, subject=subject, owner=owner, cause_id=cause_id, data=data)


class DocumentFact(Fact):
    data: DocumentData


class CollectionFact(Fact):
    data: CollectionStateData
