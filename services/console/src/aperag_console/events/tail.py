"""Which events a person looks at, and what a row tells of one; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_console.web.page import Page
    from aperag_console.web.texts import Texts

AGGREGATES = ("document", "index", "collection", "ingest", "turn", "key", "user", "step", "webhook")
"""What events are about: the first word of their types."""
SINCE: Mapping[str, timedelta | None] = {
    "now": None,
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
}
USUAL_SINCE = "15m"
CODES = ("reason", "changed", "error_code", "code", "error_message", "message")
"""Fields of ``data`` that say why, in the order in which a row names them."""
BAD = ("failed", "dead_lettered", "disabled", "revoked")
GOOD = ("indexed", "activated", "completed", "finished", "summarized")


@dataclass(frozen=True, slots=True)
class Wanted:
    """``type`` is exact, or all of one noun as ``document.*``; empty is no filter."""

    type: str
    collection: str
    since: str

    @classmethod
    def of(cls, page: Page) -> Wanted:
        since = page.query("since")
        return cls(page.query("type"), page.query("collection"), since if since in SINCE else USUAL_SINCE)

    def __contains__(self, event: Event) -> bool:
        whole = self.type.removesuffix("*")
        typed = event.type.startswith(whole) if self.type.endswith(".*") else self.type in {"", event.type}
        return typed and self.collection in {"", event.data.get("collection_id")}


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent as the gateway sent it."""

    body: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def type(self) -> str:
        return str(self.body["type"])

    @property
    def data(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.body.get("data") or {}
        return found

    @property
    def json(self) -> str:
        return json.dumps(self.body, indent=2, ensure_ascii=False)

    @property
    def look(self) -> str:
        """A class of the style sheet."""
        if self.type.endswith(BAD):
            return "bad"
        return "good" if self.type.endswith(GOOD) else ""

    @property
    def about(self) -> str:
        return str(self.data.get("name") or self.data.get("title") or self.body.get("subject") or "")

    def told(self, texts: Texts) -> str:
        """Which index it is about, how a task ended, and why."""
        named = [texts.known(name, self.data[name]) for name in ("kind",) if self.data.get(name)]
        named += [texts.known("status", self.data[name]) for name in ("outcome",) if self.data.get(name)]
        why = [", ".join(it) if isinstance(it, list) else str(it) for name in CODES if (it := self.data.get(name))]
        return " · ".join(dict.fromkeys([*named, *why]))

    @property
    def document(self) -> str:
        """The path of the page of the document that it is about; empty where there is none."""
        collection, document = self.data.get("collection_id"), self.data.get("document_id")
        gone = self.type in {"document.deleted", "document.removed", "index.removed"}
        return f"/collections/{collection}/documents/{document}" if collection and document and not gone else ""

    @property
    def task(self) -> str:
        """What its trace is found by: the id of a task or turn."""
        return str(self.data.get("workflow_id") or self.data.get("turn_id") or "")
