"""Handing out a document's bytes and what the parse made of them."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException, Response
from fastapi.responses import StreamingResponse

from aperag_api.kernel.reading import reading
from aperag_api.knowledge.contents import repository
from aperag_api.knowledge.contents.ranges import RangeNotSatisfiable, content_disposition, parse_range
from aperag_api.knowledge.contents.schemas import Preview
from aperag_api.knowledge.documents.service import readable_document
from aperag_common import errors
from aperag_common.db.models import DocumentStatus
from aperag_common.objects import InvalidObjectPath, ObjectMissing, layout

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.knowledge.documents.repository import DocumentRow
    from aperag_common.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """The request's range headers."""

    range: str | None = None
    if_range: str | None = None


@dataclass(frozen=True, slots=True)
class ContentService:
    """``user_id`` None is everybody: a published collection's documents open to them."""

    engine: AsyncEngine
    objects: ObjectStore

    async def download(self, user_id: str | None, collection_id: str, document_id: str, wanted: Wanted) -> Response:
        row = await self._document(user_id, collection_id, document_id)
        if row.status == DocumentStatus.EXPIRED:
            raise errors.InvalidParameter(f"Document {document_id} has expired")
        headers = {"Content-Disposition": content_disposition(row.name), "ETag": f'"{row.sha256}"'}
        return await self._answer(row.object_path, row.name, headers, wanted)

    async def object(
        self, user_id: str | None, collection_id: str, document_id: str, path: str, wanted: Wanted
    ) -> Response:
        """``path`` is relative to the document, as the preview names it, or whole; nothing outside the document."""
        async with reading(self.engine) as conn:
            row = await readable_document(conn, collection_id, document_id, user_id)
            markdown = await repository.served_markdown(conn, document_id)
        prefix = layout.prefix_of(row.object_path)
        full = path if path.startswith(f"{prefix}/") else f"{prefix}/{path}"
        headers = {"Content-Disposition": content_disposition(full.rpartition("/")[2], inline=True)}
        known_as = {
            f"{prefix}/{layout.PARSED}": markdown,
            f"{prefix}/{layout.CONVERTED}": layout.pages_of(row.object_path),
        }
        return await self._answer(known_as.get(full) or full, full, headers, wanted)

    async def preview(self, user_id: str | None, collection_id: str, document_id: str) -> Preview:
        async with reading(self.engine) as conn:
            row = await readable_document(conn, collection_id, document_id, user_id)
            chunks = await repository.served_chunks(conn, document_id)
            path = await repository.served_markdown(conn, document_id)
        markdown = await self._text(path) if path else ""
        return Preview(
            doc_object_path=row.object_path.rpartition("/")[2],
            doc_filename=row.name,
            converted_pdf_object_path=layout.CONVERTED if layout.pages_of(row.object_path) else None,
            markdown_content=markdown,
            chunks=chunks,
        )

    async def _document(self, user_id: str | None, collection_id: str, document_id: str) -> DocumentRow:
        async with reading(self.engine) as conn:
            return await readable_document(conn, collection_id, document_id, user_id)

    async def _text(self, path: str) -> str:
        try:
            return b"".join([block async for block in self.objects.open(path)]).decode(errors="replace")
        except ObjectMissing:
            return ""

    async def _answer(self, path: str, name: str, headers: dict[str, str], wanted: Wanted) -> Response:
        try:
            size = await self.objects.size(path)
        except InvalidObjectPath as err:
            raise errors.InvalidParameter("The path is not one of this document") from err
        except ObjectMissing as err:
            raise errors.NotFound("The document has no such object") from err
        stale = wanted.if_range is not None and wanted.if_range != headers.get("ETag")
        try:
            part = None if stale else parse_range(wanted.range, size)
        except RangeNotSatisfiable as err:
            whole = {"Content-Range": f"bytes */{size}"}
            raise HTTPException(416, f"The range lies outside the {size} bytes of the object", whole) from err
        # Uploaded HTML must not run as a page of this origin.
        safe = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "Accept-Ranges": "bytes"}
        headers = {**safe, **headers}
        start, end = (part.start, part.end) if part else (0, size)
        headers["Content-Length"] = str(end - start)
        if part:
            headers["Content-Range"] = part.content_range(size)
        media = mimetypes.guess_type(name)[0] or "application/octet-stream"
        stream = self.objects.open(path, start, end)
        return StreamingResponse(stream, 206 if part else 200, headers=headers, media_type=media)
