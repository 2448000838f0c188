"""People besides the first one, each with an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from aperag_api.identity.apikeys.keys import KeyHasher
from aperag_api.identity.apikeys.service import issue
from aperag_testing.factories import make_user

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.stack import Stack


async def another_key(stack: Stack, engine: AsyncEngine) -> str:
    """Of a new user. They are made where the gateway would make them, for there is no route that does."""
    secret = (stack.home / "secrets" / "secret_key").read_text(encoding="ascii").strip()
    async with engine.begin() as conn:
        owner = await make_user(conn)
        made = await issue(conn, KeyHasher.of(SecretStr(secret)), owner, "bench")
    if made.key is None:
        message = "a new key was not told"
        raise RuntimeError(message)
    return made.key
