"""The web as agents see it."""

from __future__ import annotations

from pydantic import Field

from aperag_mcp.answers import Answer


class WebHit(Answer):
    rank: int
    title: str | None = None
    url: str
    snippet: str | None = None
    domain: str | None = None
    timestamp: str | None = None


class WebSearchResponse(Answer):
    query: str | None = None
    results: list[WebHit]
    total_results: int | None = None
    search_time: float | None = None
    errors: dict[str, str] = Field({}, description="Who was asked in vain, and why; the others answered.")
    notes: list[str] = Field([], description="What was left out or shortened.")


class WebPage(Answer):
    """``content`` is Markdown. ``status`` is success or error; ``error_code`` says which error."""

    url: str
    status: str
    title: str | None = None
    content: str | None = None
    extracted_at: str | None = None
    word_count: int | None = None
    token_count: int | None = None
    truncated: bool = Field(False, description="Whether the page holds more than the gateway keeps of one.")
    error: str | None = None
    error_code: str | None = None


class WebReadResponse(Answer):
    results: list[WebPage]
    total_urls: int | None = None
    successful: int | None = None
    failed: int | None = None
    processing_time: float | None = None
    notes: list[str] = Field([], description="What was left out or shortened.")
