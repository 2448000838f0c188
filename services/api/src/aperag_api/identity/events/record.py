"""What is published of users and their keys, to the users themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common.events import accounts
from aperag_common.events.fact import ApiKeyData, UserChangeData, UserData
from aperag_work import outbox

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.events.fact import Fact
    from aperag_work.outbox import OutboxEvent

SOURCE = "api"
QUOTAS, SIGN_IN = "quotas", "sign_in"


async def record_user(conn: AsyncConnection, fact: type[Fact], user_id: str) -> tuple[OutboxEvent, ...]:
    """Into the transaction that makes it true; to be delivered after it, as all of these."""
    data = UserData(user_id=user_id)
    return await outbox.record(conn, fact.of(data, source=SOURCE, subject=user_id, owner=user_id))


async def record_user_changed(conn: AsyncConnection, user_id: str, changed: str) -> tuple[OutboxEvent, ...]:
    data = UserChangeData(user_id=user_id, changed=changed)
    return await outbox.record(conn, accounts.UserUpdated.of(data, source=SOURCE, subject=user_id, owner=user_id))


async def record_key(conn: AsyncConnection, fact: type[Fact], owner: str, key_id: str) -> tuple[OutboxEvent, ...]:
    return await outbox.record(conn, fact.of(ApiKeyData(key_id=key_id), source=SOURCE, subject=key_id, owner=owner))
