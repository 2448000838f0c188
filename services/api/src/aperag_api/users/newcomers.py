"""What a new user has from the start, in one transaction with the user itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text
from starlette.exceptions import HTTPException

from aperag_api.apikeys.service import issue
from aperag_api.auth import Role
from aperag_api.collections import repository as collections
from aperag_api.collections.schemas import CollectionConfig
from aperag_api.quotas.service import open_quotas
from aperag_api.users import repository
from aperag_api.users.names import name_key
from aperag_common import ids
from aperag_retrieval.analysis import DEFAULT_ANALYZER
from aperag_retrieval.embedding import LOCAL_MODEL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.users.repository import UserRow
    from aperag_common.auth.keys import KeyHasher

LOCAL = "local"
FIRST_KEY = "default"
BOT_TITLE = "Default Agent Bot"
CHAT_TITLE = "Chat Documents"
CHAT = "CHAT"

_BOT = text(
    """
    INSERT INTO bot (id, owner, title, description, type, config)
    SELECT :id, u.id, :title, '', 'agent', '{}' FROM users u
    WHERE u.id = :owner AND NOT EXISTS (SELECT FROM bot WHERE owner = u.id)
    """
)
_HAS_CHAT = text("SELECT EXISTS (SELECT FROM collection WHERE owner = :owner AND type = :type)")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """``source`` is ``local`` or the name of an OAuth provider; ``email_verified`` as the model ``User`` has it."""

    username: str
    role: Role
    email: str | None = None
    password_hash: str | None = None
    source: str = LOCAL
    email_verified: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """``api_key`` is whole here and nowhere else."""

    user: UserRow
    api_key: str


async def admit(conn: AsyncConnection, hasher: KeyHasher, newcomer: Newcomer) -> Admitted:
    """Raises 400 where the name or the address is another user's.

    There is no system key beside the visible one: keys are stored as hashes only, so nobody could ever use it.
    """
    user = await repository.insert(
        conn,
        user_id=ids.new_user_id(),
        username=newcomer.username,
        username_key=name_key(newcomer.username),
        email=newcomer.email,
        email_verified=newcomer.email_verified,
        role=newcomer.role,
        password_hash=newcomer.password_hash,
        source=newcomer.source,
    )
    if user is None:
        raise await refusal(conn, newcomer.username, newcomer.email)
    await furnish(conn, user.id)
    made = await issue(conn, hasher, user.id, FIRST_KEY)
    return Admitted(user, made.key)


async def furnish(conn: AsyncConnection, user_id: str) -> None:
    """Quotas, a bot and a collection for the documents of chats, as far as the user has none."""
    await open_quotas(conn, user_id)
    await conn.execute(_BOT, {"id": ids.new_bot_id(), "owner": user_id, "title": BOT_TITLE})
    if (await conn.execute(_HAS_CHAT, {"owner": user_id, "type": CHAT})).scalar_one():
        return
    await open_chat_collection(conn, user_id)


async def open_chat_collection(conn: AsyncConnection, user_id: str) -> str:
    """For the files of all chats of the user; its id."""
    made = await collections.insert(
        conn,
        collection_id=ids.new_collection_id(),
        owner=user_id,
        title=CHAT_TITLE,
        description="",
        type=CHAT,
        config=CollectionConfig().model_dump(mode="json"),
        analyzer=DEFAULT_ANALYZER,
        active_model=LOCAL_MODEL,
    )
    return made.id


async def refusal(conn: AsyncConnection, username: str | None, email: str | None) -> HTTPException:
    """Which of both is taken; after an insert that met another one."""
    key = name_key(username or "")
    by_name, by_email = await repository.taken(conn, username=username or "", username_key=key, email=email)
    if by_email and not by_name:
        return HTTPException(400, "Email already exists")
    return HTTPException(400, "Username already exists")
