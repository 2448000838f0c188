"""What an agent shows the gateway: the credential of the turn that it runs, valid while its job is leased (ADR 0019)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_FORM = re.compile(r"turn\.(turn[0-9a-f]{16})\.([0-9a-f]{32})\Z")

# The key or session that the turn was begun with ends the turn's rights with its own. The credential is compared by
# PostgreSQL: who could learn it from the time that this takes has less time than the turn.
_FIND = text(
    f"""
    SELECT t.owner, u.username, t.chat_id, t.rights -> 'collection_ids' AS collection_ids
    FROM turn t JOIN job j ON j.subject_id = t.id AND j.kind = 'turn' JOIN users u ON u.id = t.owner AND u.is_active
    WHERE t.id = :turn_id AND t.credential = :secret AND t.cancel_requested_at IS NULL
        AND j.status IN {OPEN_SQL} AND j.lease_until > clock_timestamp()
        AND (t.rights ->> 'api_key_id' IS NULL OR EXISTS (
            SELECT FROM api_key k WHERE k.id = t.rights ->> 'api_key_id' AND k.deleted_at IS NULL
                AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())))
        AND (t.rights ->> 'session_id' IS NULL OR EXISTS (
            SELECT FROM session s WHERE s.id = t.rights ->> 'session_id' AND s.revoked_at IS NULL
                AND s.expires_at > clock_timestamp()))
    """
)


@dataclass(frozen=True, slots=True)
class TurnCredential:
    turn_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose turn it is, in which chat, and the only collections that it reaches; None: all that its owner may read."""

    owner: str
    username: str
    chat_id: str
    collection_ids: list[str] | None


def parse_turn_credential(key: str) -> TurnCredential | None:
    """``turn.<id of the turn>.<its credential>``, or None."""
    parsed = _FORM.match(key)
    return None if parsed is None else TurnCredential(parsed[1], parsed[2])


async def find_holder(conn: AsyncConnection, credential: TurnCredential) -> Holder | None:
    """None while no agent holds the turn, once it was cancelled, or where its asker's own credential is gone."""
    values = {"turn_id": credential.turn_id, "secret": credential.secret}
    found = (await conn.execute(_FIND, values)).one_or_none()
    return None if found is None else Holder(**found._mapping)
