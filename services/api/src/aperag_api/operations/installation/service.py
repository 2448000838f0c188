"""Reading and changing the settings of the installation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from aperag_api.kernel.reading import reading
from aperag_api.operations.installation import repository
from aperag_api.operations.installation.repository import SettingRow
from aperag_api.operations.installation.schemas import SettingsOut
from aperag_common import errors
from aperag_common.auth.encrypted import SETTING_VALUE
from aperag_common.auth.vault import VaultError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.operations.installation.mineru import MinerU
    from aperag_api.operations.installation.schemas import SettingsChange, TokenTested
    from aperag_common.auth.vault import Vault

log = structlog.get_logger(__name__)

TOKEN = "mineru_api_token"  # noqa: S105  the name of the setting, not its value
SECRET = frozenset({TOKEN})
NAMES = tuple(SettingsOut.model_fields)
MASK = "****"
SHOWN = 4
LONG_ENOUGH = 16
"""A shorter secret is not shown in part: too little of it would be left to guess."""


@dataclass(frozen=True, slots=True)
class InstallationService:
    engine: AsyncEngine
    vault: Vault
    mineru: MinerU

    async def get(self) -> SettingsOut:
        async with reading(self.engine) as conn:
            return await self._shown(conn)

    async def update(self, change: SettingsChange) -> None:
        given = {name: value for name, value in change.model_dump().items() if value is not None}
        async with self.engine.begin() as conn:
            shown = await self._shown(conn)
            for name, value in given.items():
                if name in SECRET and not value:
                    await repository.remove(conn, name)
                elif name not in SECRET or value != getattr(shown, name):
                    await repository.write(conn, self._row(name, value))

    async def test_token(self, token: str | None) -> TokenTested | None:
        """Of the token given, or of the stored one; None where there is neither."""
        async with reading(self.engine) as conn:
            rows = await repository.read(conn, [TOKEN])
        stored = rows.get(TOKEN)
        if token and (stored is None or token != self._masked(stored)):
            return await self.mineru.test(token)
        return None if stored is None else await self.mineru.test(self._opened(stored))

    async def _shown(self, conn: AsyncConnection) -> SettingsOut:
        rows = await repository.read(conn, NAMES)
        shown = {name: self._masked(row) if row.encrypted else json.loads(row.value) for name, row in rows.items()}
        return SettingsOut(**shown)

    def _row(self, name: str, value: Any) -> SettingRow:
        text = json.dumps(value)
        if name not in SECRET:
            return SettingRow(name, text, encrypted=False)
        return SettingRow(name, self.vault.encrypt(text, context=SETTING_VALUE.context(name)), encrypted=True)

    def _opened(self, row: SettingRow) -> str:
        try:
            return str(json.loads(self.vault.decrypt(row.value, context=SETTING_VALUE.context(row.name))))
        except VaultError as err:
            raise errors.Conflict(f"The stored {row.name} cannot be read. {err}") from err

    def _masked(self, row: SettingRow) -> str:
        try:
            secret = self._opened(row)
        except errors.Conflict as err:
            log.warning("setting.unreadable", name=row.name, error=err.message)
            return MASK
        return MASK + (secret[-SHOWN:] if len(secret) >= LONG_ENOUGH else "")
