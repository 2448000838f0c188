"""Durable subscriptions to events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.errors import Ambiguous, NotFound
from aperag_cli.client.http import segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_cli.client.http import Http


async def create(http: Http, body: Mapping[str, object]) -> dict[str, Any]:
    return dict(await http.json("POST", "/subscriptions", json=body))


async def subscriptions(http: Http) -> list[dict[str, Any]]:
    return list((await http.json("GET", "/subscriptions"))["items"])


async def find(http: Http, wanted: str) -> str:
    """The id of the subscription that a person named by its id or its name."""
    found = [it["id"] for it in await subscriptions(http) if wanted in {it["id"], it["name"]}]
    if not found:
        message = f"there is no subscription with the name or id {wanted!r}"
        raise NotFound(message, hint="`aperag subscriptions list` shows all of them")
    if len(found) > 1:
        message = f"{wanted!r} is the name of one subscription and the id of another"
        raise Ambiguous(message, hint=f"name one by its id: {', '.join(found)}")
    return str(found[0])


async def state(http: Http, subscription_id: str) -> dict[str, Any]:
    return dict(await http.json("GET", f"/subscriptions/{segment(subscription_id)}"))


async def delete(http: Http, subscription_id: str) -> None:
    async with http.stream("DELETE", f"/subscriptions/{segment(subscription_id)}"):
        pass  # the answer has no body


async def nats_access(http: Http) -> dict[str, Any]:
    """How the key in use connects to NATS."""
    return dict(await http.json("GET", "/nats"))
