"""What an event asks for, whether it may, and which of two events is newer; pure."""

from __future__ import annotations

import base64
import mimetypes
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from aperag_api.kernel.validation import check
from aperag_api.knowledge.ingest.refusals import (
    ContentTooLarge,
    InvalidName,
    ReferenceUnsupported,
    RefusedEvent,
    SubjectMissing,
    TimeInFuture,
    UnknownEventType,
)
from aperag_api.knowledge.uploads.names import clean_name, suffix_of
from aperag_common import errors
from aperag_common.events.ingest import DELETE, TYPES, UpsertData
from aperag_common.jobs.steps import StepKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aperag_api.knowledge.ingest.cloudevents import Event

AHEAD = timedelta(minutes=10)
"""How far a sender's clock may be ahead: an event from the future would outrank all that follow it."""
MOST_METADATA = 16 * 1024


@dataclass(frozen=True, slots=True)
class Upsert:
    """``content`` or ``reference`` is there; ``kinds`` None: all that the collection has."""

    name: str
    content: bytes | None = None
    reference: str | None = None
    metadata: dict[str, Any] | None = None
    kinds: tuple[StepKind, ...] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid event; ``upsert`` None: the document of its subject is to be deleted."""

    event: Event
    subject: str
    upsert: Upsert | None


@dataclass(frozen=True, slots=True)
class Version:
    """When an event happened, and in which order it came."""

    time: datetime
    seq: int


def newer(event: Version, carried_out: Version | None) -> bool:
    """By the sender's time; of two with the same time, the one that came later."""
    return carried_out is None or (event.time, event.seq) > (carried_out.time, carried_out.seq)


def asked(event: Event, now: datetime, *, max_content: int) -> Asked:
    """Raises ``RefusedEvent``."""
    if event.type not in TYPES:
        raise UnknownEventType(f"The type {event.type!r} is not known here: use {' or '.join(TYPES)}")
    if not event.subject:
        raise SubjectMissing("The event has no subject: name the document by the key that it has with you")
    if event.time is not None and event.time > now + AHEAD:
        message = f"The event's time {event.time.isoformat()} lies ahead of {now.isoformat()}: set the sender's clock"
        raise TimeInFuture(message)
    return Asked(event, event.subject, None if event.type == DELETE else _upsert(event, max_content))


def _upsert(event: Event, max_content: int) -> Upsert:
    if isinstance(event.data, str | bytes):
        return _raw(event, event.data, max_content)
    try:
        data = UpsertData.model_validate(event.data)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in ("data", *first["loc"]))
        raise RefusedEvent(f"{place}: {first['msg']}") from err
    _require_storable(data)
    name = _name(event, data.name, data.media_type)
    metadata, kinds = data.metadata or None, _kinds(data.index_types)
    if data.reference is not None:
        return Upsert(name, reference=_https(data.reference), metadata=metadata, kinds=kinds)
    return Upsert(name, content=_within(_bytes(data), max_content), metadata=metadata, kinds=kinds)


def _raw(event: Event, data: str | bytes, max_content: int) -> Upsert:
    """The body is the document itself, as the binary mode has it for what is no JSON."""
    if event.media_type is None or "json" in event.media_type:
        raise RefusedEvent("data is no JSON object: send the fields of an upsert, or the document with its media type")
    content = data.encode() if isinstance(data, str) else data
    return Upsert(_name(event, None, event.media_type), content=_within(content, max_content))


def _require_storable(data: UpsertData) -> None:
    try:
        check({"name": data.name, "metadata": data.metadata})
    except errors.ValidationFailed as err:
        raise RefusedEvent(f"data: {err.message}") from err
    if len(str(data.metadata)) > MOST_METADATA:
        raise RefusedEvent(f"data.metadata is longer than {MOST_METADATA} characters")


def _name(event: Event, given: str | None, media_type: str | None) -> str:
    try:
        name = clean_name(given if given is not None else event.subject)
        plain = (media_type or "").partition(";")[0].strip().lower()
        guessed = mimetypes.guess_extension(plain) or ""
        if guessed and not _has_suffix(name):
            name += guessed
        suffix_of(name)
    except errors.InvalidParameter as err:
        raise InvalidName(err.message, details=err.details) from err
    return name


def _has_suffix(name: str) -> bool:
    try:
        suffix_of(name)
    except errors.InvalidParameter:
        return False
    return True


def _bytes(data: UpsertData) -> bytes:
    if data.content is not None:
        return data.content.encode(errors="replace")
    try:
        return base64.b64decode(data.content_base64 or "", validate=True)
    except ValueError as err:
        raise RefusedEvent("data.content_base64 is not base64") from err


def _within(content: bytes, max_content: int) -> bytes:
    if len(content) > max_content:
        message = (
            f"The content has {len(content)} bytes, and an event may bring {max_content}: upload the document, or send"
            " a reference to it"
        )
        raise ContentTooLarge(message)
    return content


def _https(reference: str) -> str:
    if not reference.lower().startswith("https://"):
        raise ReferenceUnsupported(
            "data.reference must begin with https:// (s3:// is not supported: presign the object)"
        )
    return reference


def _kinds(types: Sequence[str] | None) -> tuple[StepKind, ...] | None:
    if types is None:
        return None
    try:
        return tuple(dict.fromkeys(StepKind(it.lower()) for it in types if it.lower() != StepKind.PARSE))
    except ValueError as err:
        raise RefusedEvent(f"data.index_types: {err}") from err
