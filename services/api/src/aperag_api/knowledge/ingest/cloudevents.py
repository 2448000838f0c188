"""CloudEvents 1.0 as they come over NATS and HTTP: structured, binary and batch; pure.

The library reads them; it would invent the id and the time of an event that has none, and knows no binding for NATS.
Over NATS attributes are ``ce-*`` headers as over HTTP, and a message without any is structured.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import CE_PREFIX, HTTPMessage, from_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from aperag_api.kernel.validation import check
from aperag_api.knowledge.ingest.refusals import RefusedEvent
from aperag_common import errors
from aperag_common.events.ingest import BATCH, STRUCTURED

MALFORMED = (BaseCloudEventException, ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError)
"""What the library raises for what is no event."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_UNTIMED = datetime(1, 1, 1, tzinfo=UTC)
_REQUIRED = ("specversion", "id", "source", "type")
LONGEST = {"id": 512, "source": 512, "type": 128, "subject": 1024}
"""Bytes in UTF-8: the first two together are a key, and so are source and subject."""


@dataclass(frozen=True, slots=True)
class Event:
    """``data`` is decoded JSON, or the bytes or the text of a body that is none."""

    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    media_type: str | None = None
    collection: str | None = None
    traceparent: str | None = None
    data: Any = None


def from_nats(headers: Mapping[str, str], body: bytes) -> Event:
    """Raises ``RefusedEvent``."""
    found = {name.lower(): value for name, value in headers.items()}
    # The binding spells the media type of data as any other attribute; in practice it is the header of HTTP.
    found.setdefault("content-type", found.pop(f"{CE_PREFIX}datacontenttype", ""))
    if found["content-type"].startswith(BATCH):
        raise RefusedEvent("A batch cannot be published on NATS: publish each event on its own")
    is_binary = f"{CE_PREFIX}id" in found or f"{CE_PREFIX}specversion" in found
    return _binary(found, body) if is_binary and not _is_structured(found) else _structured(body)


def from_http(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """The events of one request; raises ``RefusedEvent``."""
    found = {name.lower(): value for name, value in headers.items()}
    if found.get("content-type", "").startswith(BATCH):
        return [_structured(json.dumps(event).encode()) for event in _array(body)]
    if _is_structured(found):
        return [_structured(body)]
    if any(name.startswith(CE_PREFIX) for name in found):
        return [_binary(found, body)]
    if found.get("content-type", "").startswith("application/json"):  # as simple clients label whatever is JSON
        return [_structured(body)]
    message = f"This is no CloudEvent: send Content-Type {STRUCTURED} or {BATCH}, or the attributes as ce-* headers"
    raise RefusedEvent(message)


def named(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Attributes of what may be no event, as far as they can be read: to tell its sender of it."""
    found = {name.lower(): value for name, value in headers.items()}
    if f"{CE_PREFIX}id" in found or f"{CE_PREFIX}source" in found:
        return _kept({name: unquote(found.get(f"{CE_PREFIX}{name}", "")) for name in LONGEST})
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return _kept(event) if isinstance(event, dict) else {}


def _is_structured(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").startswith(STRUCTURED)


def _array(body: bytes) -> list[Any]:
    try:
        events = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise RefusedEvent(f"The batch is no JSON: {str(err)[:200]}") from err
    if not isinstance(events, list):
        raise RefusedEvent("A batch is a JSON array of events")
    return events


def _structured(body: bytes) -> Event:
    try:
        event = _event(JSONFormat().read(_strict, body))
        if isinstance(event.data, bytes):  # the library passes over whatever is not base64
            base64.b64decode(json.loads(body)["data_base64"], validate=True)
    except MALFORMED as err:
        raise _malformed(err) from err
    return event


def _binary(headers: Mapping[str, str], body: bytes) -> Event:
    # An empty media type is none: the library would refuse it.
    kept = {name: value for name, value in headers.items() if value}
    try:
        return _event(from_binary(HTTPMessage(kept, body), JSONFormat(), _strict))
    except MALFORMED as err:
        raise _malformed(err) from err


def _strict(attributes: dict[str, Any], data: Any) -> BaseCloudEvent:
    """The library's event, of attributes that are there."""
    for name in _REQUIRED:
        if not attributes.get(name):
            raise ValueError(f"the attribute {name} is missing")
    return CloudEvent({"time": _UNTIMED, **attributes}, data)


def _event(event: BaseCloudEvent) -> Event:
    attributes = event.get_attributes()
    for name, longest in LONGEST.items():
        if len(str(attributes.get(name) or "").encode(errors="replace")) > longest:
            raise ValueError(f"the attribute {name} is longer than {longest} bytes")
    time, data = attributes["time"], event.get_data()
    found = Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=None if time == _UNTIMED else time,
        media_type=attributes.get("datacontenttype"),
        collection=_text(attributes, "collection"),
        traceparent=_text(attributes, "traceparent"),
        data=data,
    )
    try:
        check({name: getattr(found, name) for name in ("id", "source", "type", "subject", "collection", "traceparent")})
    except errors.ValidationFailed as err:
        raise ValueError(err.message) from err
    return found


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    return value if isinstance(value, str) else None


def _kept(event: Mapping[str, Any]) -> dict[str, str]:
    """Without what no row can hold."""
    texts = {name: event[name] for name in LONGEST if isinstance(event.get(name), str) and event[name]}
    return {
        name: value
        for name, value in texts.items()
        if len(value.encode(errors="replace")) <= LONGEST[name] and not _UNSTORABLE.search(value)
    }


def _malformed(err: Exception) -> RefusedEvent:
    if isinstance(err, RefusedEvent):
        return err
    return RefusedEvent(f"This is no CloudEvent 1.0: {str(err)[:500]}")
