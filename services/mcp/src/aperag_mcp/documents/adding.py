"""Adding a document: from text or a web page, until it can be searched."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_mcp.documents.naming import name_of
from aperag_mcp.documents.schemas import AddedDocument, Document
from aperag_mcp.documents.texts import path_of
from aperag_mcp.errors import Refused
from aperag_mcp.progress import ticking
from aperag_mcp.web.schemas import WebReadResponse

if TYPE_CHECKING:
    from fastmcp import Context

    from aperag_mcp.gateway.client import Gateway

READ_SECONDS = 60.0
PAGE_SECONDS = 30
POLL_SECONDS = (0.2, 1.0)
"""The first pause, and the longest."""
SEARCHABLE = "COMPLETE"
FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class NewDocument:
    name: str
    content: bytes


async def compose(gateway: Gateway, ctx: Context, *, text: str, url: str, name: str) -> NewDocument:
    """Raises ``Refused`` where there is not exactly one source, or the page cannot be read."""
    if bool(text.strip()) == bool(url.strip()):
        raise Refused("Give either text or url: the one becomes the document, the other is read and becomes it.")
    if text.strip():
        return NewDocument(name_of(name, text=text), text.encode())
    body = {"url_list": [url.strip()], "timeout": PAGE_SECONDS, "max_concurrent": 1}
    async with ticking(ctx, "Reading the page", seconds=READ_SECONDS):
        answer = await gateway.post("web", "read", body=body, seconds=READ_SECONDS)
    page = next(iter(WebReadResponse.model_validate(answer).results), None)
    if page is None or page.status != "success" or not (page.content or "").strip():
        reason = "it holds no text" if page is None or not page.error else page.error.rstrip(".")
        code = f" ({page.error_code})" if page is not None and page.error_code else ""
        raise Refused(f"{url} cannot be read: {reason}{code}. Try another address, or give the text itself.")
    heading = f"# {page.title}\n\n" if page.title else ""
    content = f"{heading}Source: {page.url}\n\n{page.content}\n"
    return NewDocument(name_of(name, title=page.title or "", url=page.url), content.encode())


async def upload(gateway: Gateway, collection_id: str, new: NewDocument) -> Document:
    answer = await gateway.upload("collections", collection_id, "documents", name=new.name, content=new.content)
    return Document.model_validate(answer["items"][0])


def told(document: Document) -> AddedDocument:
    if document.status == SEARCHABLE:
        return AddedDocument(document=document, searchable=True)
    note = f"It is being made searchable: document_status with document_id {document.id} says how far it is."
    return AddedDocument(document=document, searchable=False, notes=[note])


async def await_searchable(
    gateway: Gateway, ctx: Context, collection_id: str, document: Document, *, seconds: float
) -> AddedDocument:
    """A document that fails is a failure of the call; one that takes longer is not."""
    path = path_of(collection_id, document.id)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    pause, longest = POLL_SECONDS
    while document.status not in {SEARCHABLE, FAILED} and (elapsed := loop.time() - begun) < seconds:
        await ctx.report_progress(elapsed, seconds, await _far(gateway, document))
        await asyncio.sleep(min(pause, seconds - elapsed))
        pause = min(pause * 1.5, longest)
        document = Document.model_validate(await gateway.get(*path))
    if document.status == FAILED:
        message = (
            f"{document.name} was added as {document.id} and cannot be made searchable:"
            f" {document.error_code}, {document.error_message}. Add it again under another name once that is mended."
        )
        raise Refused(message)
    return told(document)


async def _far(gateway: Gateway, document: Document) -> str:
    """What the newest task of the document says of its steps."""
    if document.task_id is None:
        return document.status
    task: dict[str, Any] = await gateway.get("tasks", document.task_id)
    return ", ".join(f"{step['kind']} {step.get('status') or step['outcome']}" for step in task["steps"])
