"""What a gateway is asked about webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.http import segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_cli.client.http import Http

Json = dict[str, Any]
PATH = "/webhooks"


async def listed(http: Http) -> list[Json]:
    return list((await http.json("GET", PATH))["items"])


async def get(http: Http, webhook_id: str) -> Json:
    return dict(await http.json("GET", _one(webhook_id)))


async def create(http: Http, wanted: Mapping[str, object]) -> Json:
    return dict(await http.json("POST", PATH, json=dict(wanted)))


async def update(http: Http, webhook_id: str, wanted: Mapping[str, object]) -> Json:
    return dict(await http.json("PUT", _one(webhook_id), json=dict(wanted)))


async def delete(http: Http, webhook_id: str) -> None:
    async with http.stream("DELETE", _one(webhook_id)):
        pass  # the answer has no body


async def act(http: Http, webhook_id: str, action: str, body: Mapping[str, object] | None = None) -> Json:
    """``action`` is the last part of the path: rotate, test, enable, disable or replay."""
    return dict(await http.json("POST", f"{_one(webhook_id)}/{action}", json=None if body is None else dict(body)))


async def deliveries(http: Http, webhook_id: str, *, status: str | None, most: int) -> list[Json]:
    """The newest first."""
    query: dict[str, str | int] = {"page_size": min(most, 100)}
    if status is not None:
        query["status"] = status
    found: list[Json] = []
    while len(found) < most:
        query["page"] = len(found) // int(query["page_size"]) + 1
        answer = await http.json("GET", f"{_one(webhook_id)}/deliveries", params=query)
        found += answer["items"]
        if not answer["has_next"]:
            break
    return found[:most]


async def delivery(http: Http, webhook_id: str, delivery_id: str) -> Json:
    return dict(await http.json("GET", f"{_one(webhook_id)}/deliveries/{segment(delivery_id)}"))


async def redeliver(http: Http, webhook_id: str, delivery_id: str) -> Json:
    path = f"{_one(webhook_id)}/deliveries/{segment(delivery_id)}/redeliver"
    return dict(await http.json("POST", path))


def _one(webhook_id: str) -> str:
    return f"{PATH}/{segment(webhook_id)}"
