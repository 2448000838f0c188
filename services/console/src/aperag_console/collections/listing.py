"""Which collections there are, and what lies in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_console.gateway.client import Api

MOST = 1000

STATUS_ORDER = {"RUNNING": 0, "PENDING": 1, "FAILED": 2}


async def every(api: Api) -> list[dict[str, Any]]:
    """Own and subscribed ones, the latest first."""
    found: list[dict[str, Any]] = (await api.get("collections", page_size=MOST))["items"]
    return found


async def counted(api: Api, collections: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the number of documents in each."""
    pages = await asyncio.gather(*(api.get("collections", it["id"], "documents", page_size=1) for it in collections))
    return [{**it, "documents": page["total"]} for it, page in zip(collections, pages, strict=True)]


async def recent(api: Api, collections: Sequence[dict[str, Any]], *, most: int) -> list[dict[str, Any]]:
    """Documents that changed last: what is worked on, then what failed, then the others."""
    asked = {"page_size": most, "sort_by": "updated", "sort_order": "desc"}
    pages = await asyncio.gather(*(api.get("collections", it["id"], "documents", **asked) for it in collections))
    found = [
        {**document, "collection": collection}
        for collection, page in zip(collections, pages, strict=True)
        for document in page["items"]
    ]
    found.sort(key=lambda it: it["updated"], reverse=True)
    return sorted(found, key=lambda it: STATUS_ORDER.get(it["status"], 3))[:most]
