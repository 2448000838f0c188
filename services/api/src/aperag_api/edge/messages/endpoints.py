"""Routes of the messages' description: open to everybody, as that of the API is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from aperag_api.edge.messages.page import page
from aperag_api.kernel.http.pages import answered
from aperag_common.asyncapi.document import document

router = APIRouter(tags=["events"])


@router.get("/asyncapi.json")
async def asyncapi() -> dict[str, Any]:
    """What other services may publish and subscribe to, as an AsyncAPI 3 document; internal channels are marked."""
    return document()


@router.get("/docs/messages", include_in_schema=False, response_class=HTMLResponse)
async def messages() -> HTMLResponse:
    return answered(page())
