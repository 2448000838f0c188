"""Routes of the web (contract 1.11)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import ScopedReader
from aperag_api.knowledge.services import Services
from aperag_api.knowledge.web.schemas import WebReadIn, WebReadOut, WebSearchIn, WebSearchOut

router = APIRouter(prefix="/web", tags=["web"])


@router.post("/search")
async def search_web(body: WebSearchIn, _: ScopedReader, services: Services) -> WebSearchOut:
    return await services.web.searches.search(body)


@router.post("/read")
async def read_web(body: WebReadIn, _: ScopedReader, services: Services) -> WebReadOut:
    return await services.web.pages.read(body)
