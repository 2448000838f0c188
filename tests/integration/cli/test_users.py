"""``aperag users`` against the real stack: invited, registered, listed, deleted with everything they own."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from aperag_cli.app import app
from aperag_cli.exits import Exit
from aperag_testing.waiting import until

Aperag = Any

PASSWORD = "correct horse battery"


@pytest.fixture
def name() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


def post(aperag: Aperag, path: str, body: dict[str, Any], **options: Any) -> httpx.Response:
    return httpx.post(f"{aperag.stack.url}/api/v1{path}", json=body, trust_env=False, timeout=60, **options)


def test_a_user_is_invited_listed_and_deleted(aperag: Aperag, name: str) -> None:
    email = f"{name}@example.org"
    invited = aperag.json("users", "invite", email, "--role", "ro", "--username", name)
    assert (invited["role"], invited["is_valid"]) == ("ro", True)
    assert invited["token"] in [it["token"] for it in aperag.json("users", "invitations")]
    body = {"username": name, "password": PASSWORD, "email": email, "token": invited["token"]}
    registered = post(aperag, "/register", body).json()
    assert registered["role"] == "ro"
    assert name in {it["username"] for it in aperag.json("users", "list")}
    own = {"APERAG_API_KEY": registered["api_key"], "APERAG_API_URL": aperag.stack.url}
    assert [it["username"] for it in aperag.json("users", "list", **own)] == [name]
    assert aperag("users", "delete", name).exit_code == Exit.USAGE  # nobody says yes
    deleted = aperag.json("users", "delete", email, "--yes")
    assert deleted["id"] == registered["id"]
    assert aperag("users", "list", **own).exit_code != 0
    assert aperag("users", "delete", name, "--yes").exit_code == Exit.NOT_FOUND

    async def free() -> bool:
        """The name is free again once nothing of the user is left."""
        answer = post(aperag, "/register", {"username": name, "password": PASSWORD})
        return answer.status_code == 200

    asyncio.run(until(free, within=80))


def test_the_administrators_password_logs_in_and_is_changed(aperag: Aperag, name: str) -> None:
    home = aperag.stack.home
    first = (home / "secrets" / "admin_password").read_text(encoding="ascii").strip()
    answer = post(aperag, "/login", {"username": "admin", "password": first})
    assert (answer.status_code, answer.json()["role"]) == (200, "admin")
    assert "session" in answer.cookies
    made = post(aperag, "/register", {"username": name, "password": PASSWORD}).json()
    own = {"APERAG_API_KEY": made["api_key"], "APERAG_API_URL": aperag.stack.url}
    typed = f"{PASSWORD}\na better password\na better password\n"
    changed = CliRunner().invoke(app, ["users", "password"], env=aperag.environment(own), input=typed)
    assert changed.exit_code == 0, changed.output
    assert "a better password" not in changed.output
    assert post(aperag, "/login", {"username": name, "password": "a better password"}).status_code == 200
    assert post(aperag, "/login", {"username": name, "password": PASSWORD}).status_code == 400
