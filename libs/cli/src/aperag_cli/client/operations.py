"""What operators ask of a gateway: where a document is, how long the queues are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.http import segment

if TYPE_CHECKING:
    from aperag_cli.client.http import Http


async def timeline(http: Http, collection_id: str, document_id: str) -> dict[str, Any]:
    path = f"/collections/{segment(collection_id)}/documents/{segment(document_id)}/timeline"
    return dict(await http.json("GET", path))


async def queues(http: Http) -> dict[str, Any]:
    return dict(await http.json("GET", "/admin/queues"))
