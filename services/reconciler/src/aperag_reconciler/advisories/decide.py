"""The dead letter of a message that the server gave up; pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_common.jobs.kind import kinds
from aperag_common.subjects import AdvisoryKind
from aperag_work.requeue_rules import payload_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_reconciler.advisories.message import Advisory

ID_CHARACTERS = 24
SUBJECT_CHARACTERS = 256
REASON_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Original:
    """A message as it still lay in its stream."""

    subject: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def letter_id(advisory: Advisory) -> uuid.UUID:
    """Always the same for one advisory, however often it is delivered."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{advisory.stream}/{advisory.stream_seq}/{advisory.id}")


def letter_of(advisory: Advisory, original: Original | None, subject: str) -> dict[str, Any]:
    """Columns of the letter; ``subject`` is the advisory's own, kept where the message is gone."""
    payload = advisory.model_dump(mode="json") if original is None else payload_of(original.body)
    headers = dict(original.headers) if original else {}
    return {
        "id": letter_id(advisory),
        "consumer": advisory.consumer[:32],
        "subject": (original.subject if original else subject)[:SUBJECT_CHARACTERS],
        "code": advisory.kind.value,
        "message": _message(advisory),
        "attempt": advisory.deliveries,
        "failures": 0,
        "payload": payload,
        "headers": headers,
        "traceparent": _short(headers.get("traceparent"), 64),
        **_row(payload if original else {}),
    }


def _row(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Which job the message was about, as far as it says so: it may be anything."""
    found = payload.get("data")
    data = found if isinstance(found, dict) else {}
    generation = data.get("generation")
    return {
        "owner": _short(payload.get("owner")),
        "row_id": _short(data.get("row_id")),
        "document_id": _short(data.get("document_id")),
        "collection_id": _short(data.get("collection_id")),
        "workflow_id": _short(data.get("workflow_id")),
        "kind": _short(data.get("kind")) or _kinds_of_commands().get(str(payload.get("type"))),
        "generation": generation if isinstance(generation, int) and 0 < generation < 1 << 31 else None,
    }


def _kinds_of_commands() -> dict[str, str]:
    """What people call a job kind, by the type of its command: only commands of documents name it themselves."""
    return {work.command.type_name: kind.shown for kind in kinds() for work in kind.works}


def _short(value: object, at_most: int = ID_CHARACTERS) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= at_most else None


def _message(advisory: Advisory) -> str:
    after = "The job that it was about, if any, is redriven when it is due."
    if advisory.kind is AdvisoryKind.MAX_DELIVERIES:
        return f"The server delivered this message {advisory.deliveries} times, and nobody settled it. {after}"
    reason = f" ({advisory.reason[:REASON_CHARACTERS]})" if advisory.reason else ""
    return f"A consumer ended this message instead of acknowledging it{reason}. {after}".replace("\x00", " ")
