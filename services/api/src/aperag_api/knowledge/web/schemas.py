"""Web searches and pages as clients see them (contract 1.11)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from aperag_api.kernel.validation import RequestBody

MAX_URLS = 20
MAX_SECONDS = 120

Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
Locale = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$", max_length=35)]


class WebSearchIn(RequestBody):
    """``source`` are hosts, separated by commas; ``search_llms_txt`` is a host, or the address of such a list."""

    query: str | None = Field(None, max_length=2_000)
    max_results: int = Field(5, ge=1, le=100)
    timeout: Seconds = 30
    locale: Locale = "en-US"
    source: str | None = Field(None, max_length=2_000)
    search_llms_txt: str | None = Field(None, max_length=2_000)


class WebResult(BaseModel):
    rank: int
    title: str
    url: str
    snippet: str
    domain: str
    timestamp: datetime | None = None


class WebSearchOut(BaseModel):
    """``errors`` names what was asked in vain; ``search_time`` is in seconds."""

    query: str
    results: list[WebResult]
    total_results: int
    search_time: float
    errors: dict[str, str] = {}


class WebReadIn(RequestBody):
    """``timeout`` is for all pages together: those that are not read by then say so."""

    url_list: list[Annotated[str, Field(max_length=10_000)]] = Field(max_length=MAX_URLS)
    timeout: Seconds = 30
    locale: Locale = "en-US"
    max_concurrent: int = Field(3, ge=1, le=100)


class PageOut(BaseModel):
    """``content`` is Markdown; ``truncated`` says that the page holds more. ``token_count`` is an estimate."""

    url: str
    status: Literal["success", "error"]
    title: str | None = None
    content: str | None = None
    extracted_at: datetime | None = None
    word_count: int | None = None
    token_count: int | None = None
    truncated: bool = False
    error: str | None = None
    error_code: str | None = None


class WebReadOut(BaseModel):
    """``processing_time`` is in seconds."""

    results: list[PageOut]
    total_urls: int
    successful: int
    failed: int
    processing_time: float
