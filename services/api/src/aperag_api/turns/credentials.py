"""What an agent shows the gateway: the lease of the turn that it runs, which ends with it (ADR 0015)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_FORM = re.compile(r"turn\.(turn[0-9a-f]{16})\.([0-9a-f]{32})\Z")

# The key or session that the turn was begun with ends the turn's rights with its own. The token is compared by
# PostgreSQL: who could learn it from the time that this takes has less time than the lease.
_FIND = text(
    f"""
    SELECT t.owner, u.username, t.chat_id, t.rights -> 'collection_ids' AS collection_ids
    FROM turn t JOIN users u ON u.id = t.owner AND u.is_active
    WHERE t.id = :turn_id AND t.lease_token = :token AND t.lease_until > clock_timestamp()
        AND t.status IN {OPEN_SQL} AND t.cancel_requested_at IS NULL
        AND (t.rights ->> 'api_key_id' IS NULL OR EXISTS (
            SELECT FROM api_key k WHERE k.id = t.rights ->> 'api_key_id' AND k.deleted_at IS NULL
                AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())))
        AND (t.rights ->> 'session_id' IS NULL OR EXISTS (
            SELECT FROM session s WHERE s.id = t.rights ->> 'session_id' AND s.revoked_at IS NULL
                AND s.expires_at > clock_timestamp()))
    """
)


@dataclass(frozen=True, slots=True)
class TurnLease:
    turn_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose turn it is, in which chat, and the only collections that it reaches; None: all that its owner may read."""

    owner: str
    username: str
    chat_id: str
    collection_ids: list[str] | None


def parse_turn_lease(credential: str) -> TurnLease | None:
    """``turn.<id of the turn>.<token of its lease>``, or None."""
    parsed = _FORM.match(credential)
    return None if parsed is None else TurnLease(parsed[1], parsed[2])


async def find_lease(conn: AsyncConnection, lease: TurnLease) -> Holder | None:
    """None once the lease has ended or was taken over, the turn was cancelled, or its asker's credential is gone."""
    found = (await conn.execute(_FIND, {"turn_id": lease.turn_id, "token": lease.token})).one_or_none()
    return None if found is None else Holder(**found._mapping)
