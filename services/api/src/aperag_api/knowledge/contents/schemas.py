"""The preview of a document (contract 1.4)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class ChunkView(BaseModel):
    id: str
    text: str
    metadata: dict[str, Any]


class VisionChunkView(ChunkView):
    asset_id: str


class Preview(BaseModel):
    """``markdown_content`` is empty until the document has been parsed; the paths are what ``object`` takes."""

    doc_object_path: str
    doc_filename: str
    converted_pdf_object_path: str | None = None
    markdown_content: str = ""
    chunks: list[ChunkView] = []
    vision_chunks: list[VisionChunkView] = []
