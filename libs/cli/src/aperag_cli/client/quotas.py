"""What administrators ask of quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.errors import NotFound
from aperag_cli.client.http import segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_cli.client.http import Http


async def own(http: Http) -> dict[str, Any]:
    return dict(await http.json("GET", "/quotas"))


async def of_user(http: Http, user: str) -> dict[str, Any]:
    """``user`` is an id, a name or an address."""
    try:
        found = (await http.json("GET", "/quotas", params={"search": user}))["items"]
    except NotFound as err:
        message = f"user {user} not found"
        raise NotFound(message, hint="name a user by id, name or address, exactly as it is written") from err
    return dict(found[0])


async def change(http: Http, user_id: str, limits: Mapping[str, int | None]) -> dict[str, Any]:
    """None gives the user back to the defaults."""
    return dict(await http.json("PUT", f"/quotas/{segment(user_id)}", json=dict(limits)))


async def defaults(http: Http) -> dict[str, int]:
    return dict((await http.json("GET", "/system/default-quotas"))["quotas"])


async def change_defaults(http: Http, limits: Mapping[str, int]) -> dict[str, int]:
    body = {"quotas": dict(limits)}
    return dict((await http.json("PUT", "/system/default-quotas", json=body))["quotas"])
