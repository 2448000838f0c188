"""Making invitations, showing them, and redeeming one."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from aperag_api.identity.accounts.admission import refusal
from aperag_api.identity.accounts.names import name_key
from aperag_api.identity.accounts.repository import taken
from aperag_api.identity.invitations import repository
from aperag_api.identity.invitations.schemas import InvitationList, InvitationOut
from aperag_api.kernel.auth import Role
from aperag_api.kernel.reading import reading
from aperag_common import ids
from aperag_common.auth.encrypted import INVITATION_TOKEN

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.identity.invitations.repository import InvitationRow
    from aperag_api.identity.invitations.schemas import InvitationCreate
    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.paging import Page
    from aperag_common.auth.vault import Vault

TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class InvitationService:
    engine: AsyncEngine
    vault: Vault
    lifetime: timedelta

    async def invite(self, caller: Caller, body: InvitationCreate) -> InvitationOut:
        invitation_id, token = ids.new_invitation_id(), secrets.token_urlsafe(TOKEN_BYTES)
        async with self.engine.begin() as conn:
            await _check_free(conn, body)
            row = await repository.insert(
                conn,
                invitation_id=invitation_id,
                email=body.email,
                username=body.username,
                token=self.vault.encrypt(token, context=INVITATION_TOKEN.context(invitation_id)),
                token_hash=_hash(token),
                role=body.role,
                created_by=caller.user_id,
                lifetime=self.lifetime,
            )
        return self._view(row)

    async def list(self, caller: Caller, *, page: Page) -> InvitationList:
        """All for an administrator; everybody else sees their own."""
        maker = None if caller.role is Role.ADMIN else caller.user_id
        async with reading(self.engine) as conn:
            rows = await repository.list_invitations(conn, maker=maker, page=page)
        return InvitationList(items=[self._view(row) for row in rows])

    def _view(self, row: InvitationRow) -> InvitationOut:
        values = asdict(row)
        token = self.vault.decrypt(row.token, context=INVITATION_TOKEN.context(values.pop("id")))
        return InvitationOut(**{**values, "token": token})


async def redeem(conn: AsyncConnection, token: str, email: str) -> InvitationRow:
    """The invitation, used from the end of this transaction on; raises 400 where it is none, or another person's."""
    found = await repository.find_valid(conn, _hash(token))
    if found is None:
        raise HTTPException(400, "Invalid or expired invitation")
    if found.email != email:
        raise HTTPException(400, "Email mismatch: register with the address of the invitation")
    await repository.use(conn, found.id)
    return found


async def redeem_for(conn: AsyncConnection, email: str) -> InvitationRow | None:
    """The invitation of whoever has proved that the address is theirs; None where there is none."""
    found = await repository.valid_for(conn, email)
    if found is not None:
        await repository.use(conn, found.id)
    return found


async def _check_free(conn: AsyncConnection, body: InvitationCreate) -> None:
    name = body.username or ""
    if any(await taken(conn, username=name, username_key=name_key(name), email=body.email)):
        raise await refusal(conn, body.username, body.email)


def _hash(token: str) -> str:
    """Without a key: nobody guesses 32 random bytes."""
    return hashlib.sha256(token.encode()).hexdigest()
