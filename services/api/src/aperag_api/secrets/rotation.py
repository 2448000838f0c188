"""Encrypting again, under the present secret, what was encrypted under an earlier one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from aperag_api.secrets import repository
from aperag_api.secrets.repository import Row
from aperag_common.auth.encrypted import ENCRYPTED
from aperag_common.auth.vault import VaultError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.auth.encrypted import Encrypted
    from aperag_common.auth.vault import Vault

log = structlog.get_logger(__name__)

BATCH = 100
"""Rows of one transaction: what it holds, it holds for milliseconds."""


@dataclass(frozen=True, slots=True)
class Count:
    """Values. ``unreadable`` ones stay as they are: the secret that they need is not known, or they were changed."""

    rotated: int = 0
    unreadable: int = 0


async def rotate(engine: AsyncEngine, vault: Vault, provider_keys: Vault, *, batch: int = BATCH) -> Mapping[str, Count]:
    """By table and column. Safe to repeat, beside running gateways that know the same secrets, and after any crash."""
    return {
        f"{place.table}.{place.column}": await _rotate(engine, provider_keys if place.apart else vault, place, batch)
        for place in ENCRYPTED
    }


async def _rotate(engine: AsyncEngine, vault: Vault, place: Encrypted, batch: int) -> Count:
    total, after = Count(), ""
    while True:
        async with engine.begin() as conn:
            rows = await repository.lock_outdated(conn, place, current=vault.prefix, after=after, limit=batch)
            for row in rows:
                renewed, count = _renewed(vault, place, row)
                if count.rotated:
                    await repository.replace(conn, place, renewed)
                total = Count(total.rotated + count.rotated, total.unreadable + count.unreadable)
        if len(rows) < batch:
            return total
        after = rows[-1].key


def _renewed(vault: Vault, place: Encrypted, row: Row) -> tuple[Row, Count]:
    tokens, count = dict(row.tokens), Count()
    for field, token in row.tokens.items():
        if vault.is_current(token):
            continue
        context = place.context(row.key, field)
        try:
            tokens[field] = vault.encrypt(vault.decrypt(token, context=context), context=context)
            count = replace(count, rotated=count.rotated + 1)
        except VaultError as err:
            log.warning("secret.unreadable", place=context, error=str(err))
            count = replace(count, unreadable=count.unreadable + 1)
    return Row(row.key, tokens), count
