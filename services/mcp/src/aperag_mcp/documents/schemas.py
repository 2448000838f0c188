"""Documents as agents see them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from aperag_mcp.answers import Answer


class Document(Answer):
    """``status`` COMPLETE: searchable; FAILED: ``error_code`` and ``error_message`` say why."""

    id: str
    name: str
    status: str
    vector_index_status: str | None = None
    fulltext_index_status: str | None = None
    graph_index_status: str | None = None
    summary_index_status: str | None = None
    vision_index_status: str | None = None
    size: int | None = None
    created: str | None = None
    updated: str | None = None
    task_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class DocumentList(Answer):
    items: list[Document]
    total: int
    page: int
    page_size: int
    total_pages: int
    has_next: bool
    has_prev: bool


class DocumentText(BaseModel):
    """A page of a document's Markdown; positions are bytes, to be passed on as they are."""

    document_id: str
    name: str
    text: str
    offset: int = Field(description="Where this page begins.")
    next_offset: int | None = Field(None, description="Where the next page begins; null at the end.")
    total: int = Field(description="Where the document ends.")


class AddedDocument(BaseModel):
    document: Document
    searchable: bool = Field(description="Whether searches find it already.")
    notes: list[str] = Field([], description="What to know or do next.")


class Stage(BaseModel):
    """One step of a document's way; ``why`` says what it waits for, or how it ended."""

    kind: str
    action: str | None = None
    state: str | None = None
    reason: str | None = None
    why: str | None = None
    started: str | None = None
    ended: str | None = None
    attempt: int | None = None
    max_attempts: int | None = None
    failures: int | None = None
    next_at: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class DocumentStatus(BaseModel):
    document: Document
    searchable_by: list[str] = Field(description="Kinds of search that find the document now.")
    summary: str = Field(description="Where it is, and why it waits or failed.")
    stages: list[Stage] = []
