"""The text of a document, page by page."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from aperag_mcp.documents.paging import bytes_for, page_of
from aperag_mcp.documents.schemas import Document, DocumentText
from aperag_mcp.errors import Refused
from aperag_mcp.gateway.client import Gateway, id_of
from aperag_mcp.gateway.failures import GatewayFailure

if TYPE_CHECKING:
    import httpx

PARSED = "parsed.md"
"""What the gateway calls the Markdown of a document."""
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


async def read(gateway: Gateway, collection_id: str, document_id: str, *, offset: int, characters: int) -> DocumentText:
    path = path_of(collection_id, document_id)
    document = Document.model_validate(await gateway.get(*path))
    end = offset + bytes_for(characters)
    try:
        answer = await gateway.bytes(*path, "object", params={"path": PARSED}, start=offset, end=end)
    except GatewayFailure as err:
        raise _explained(err, document, offset) from err
    total = _total(answer)
    page = page_of(answer.content, offset=offset, total=total, characters=characters)
    return DocumentText(
        document_id=document.id,
        name=document.name,
        text=page.text,
        offset=page.start,
        next_offset=page.end if page.end < total else None,
        total=total,
    )


def path_of(collection_id: str, document_id: str) -> tuple[str, ...]:
    return ("collections", id_of("collection", collection_id), "documents", id_of("document", document_id))


def _total(answer: httpx.Response) -> int:
    match = _TOTAL.match(answer.headers.get("content-range", ""))
    return int(match[1]) if match else len(answer.content)


def _explained(err: GatewayFailure, document: Document, offset: int) -> Exception:
    if err.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        message = f"Offset {offset} lies behind the end of {document.name}. Start at 0 and go on with next_offset."
        return Refused(message)
    if err.missing:
        why = f", {document.error_code}: {document.error_message}" if document.error_code else ""
        message = (
            f"{document.name} has no text to read: its status is {document.status}{why}."
            " Call document_status to see what it waits for."
        )
        return Refused(message)
    return err
