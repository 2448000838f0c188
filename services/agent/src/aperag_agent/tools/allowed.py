"""Which tools a turn is offered; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ALWAYS = frozenset({"list_collections", "search_collection", "list_documents", "read_document"})
CHAT_FILES = frozenset({"search_chat_files"})
WEB = frozenset({"web_search", "web_read"})


def allowed(request: Mapping[str, Any]) -> frozenset[str]:
    """Of the turn's request; nothing that writes is ever among them."""
    return (
        ALWAYS
        | (CHAT_FILES if request.get("chat_files") else frozenset())
        | (WEB if request.get("web_search") else frozenset())
    )
