"""What an agent shows the gateway: the credential of the turn that it runs, valid while its job is leased (ADR 0019)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role, Scope
from aperag_api.kernel.reading import reading
from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

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
class TurnCredentials:
    """An agent, for as long as it holds the turn: it reads what the turn's asker may read, and changes nothing."""

    engine: AsyncEngine

    async def caller_of(self, credential: str) -> Caller | None:
        """``turn.<id of the turn>.<its secret>``; None also where the asker's own credential is gone."""
        parsed = _FORM.match(credential)
        if parsed is None:
            return None
        async with reading(self.engine) as conn:
            found = (await conn.execute(_FIND, {"turn_id": parsed[1], "secret": parsed[2]})).one_or_none()
        if found is None:
            return None
        return Caller(
            user_id=found.owner,
            username=found.username,
            role=Role.RO,
            credential=Credential(CredentialKind.TURN, parsed[1]),
            scope=Scope.READ,
            collection_ids=None if found.collection_ids is None else frozenset(found.collection_ids),
            chat_id=found.chat_id,
        )
