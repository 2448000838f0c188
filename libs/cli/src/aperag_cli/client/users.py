"""What operators ask of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.errors import NotFound
from aperag_cli.client.http import segment

if TYPE_CHECKING:
    from aperag_cli.client.http import Http

PAGE = 1000


async def users(http: Http) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        query = {"page": len(found) // PAGE + 1, "page_size": PAGE}
        items = (await http.json("GET", "/users", params=query))["items"]
        found += items
        if len(items) < PAGE:
            return found


async def find(http: Http, wanted: str) -> dict[str, Any]:
    """The user whom a person named by id, name or address."""
    for user in await users(http):
        if wanted in {user["id"], user["username"], user["email"]}:
            return user
    message = f"there is no user with the name, id or address {wanted!r}"
    raise NotFound(message, hint="`aperag users list` shows all of them")


async def me(http: Http) -> dict[str, Any]:
    return dict(await http.json("GET", "/user"))


async def delete(http: Http, user_id: str) -> dict[str, Any]:
    return dict(await http.json("DELETE", f"/users/{segment(user_id)}"))


async def invite(http: Http, email: str, *, role: str, username: str | None) -> dict[str, Any]:
    body = {"email": email, "role": role, "username": username}
    return dict(await http.json("POST", "/invite", json=body))


async def invitations(http: Http) -> list[dict[str, Any]]:
    return list((await http.json("GET", "/invitations"))["items"])


async def change_password(http: Http, username: str, *, old: str, new: str) -> dict[str, Any]:
    body = {"username": username, "old_password": old, "new_password": new}
    return dict(await http.json("POST", "/change-password", json=body))
