"""``python -m aperag_api.bootstrap``: the first user and their API key; safe to repeat."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.apikeys import repository
from aperag_api.apikeys.service import issue
from aperag_api.settings import Settings
from aperag_common import ids
from aperag_common.auth.keys import KeyHasher, is_api_key
from aperag_common.db.session import make_engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('aperag.bootstrap', 0))")
_INSERT_ADMIN = text(
    """
    INSERT INTO users (id, username, role, is_active) VALUES (:id, :username, 'admin', true)
    ON CONFLICT (username) DO NOTHING
    """
)
_USER_ID = text("SELECT id FROM users WHERE username = :username")


async def bootstrap(settings: Settings, username: str, key_file: Path) -> bool:
    """Whether a key was made: not where ``key_file`` holds one that works."""
    if settings.secret_key is None:
        message = "APERAG_SECRET_KEY is not set"
        raise ValueError(message)
    hasher = KeyHasher.of(settings.secret_key)
    engine = make_engine(settings.postgres, name="aperag-bootstrap")
    try:
        async with engine.begin() as conn:
            await conn.execute(_ONE_AT_A_TIME)
            await conn.execute(_INSERT_ADMIN, {"id": ids.new_user_id(), "username": username})
            owner = (await conn.execute(_USER_ID, {"username": username})).scalar_one()
            if await _works(conn, hasher, _read_secret(key_file)):
                return False
            made = await issue(conn, hasher, owner, "default")
            # Before the commit: a file with a key that does not work is replaced by the next run, but a key that
            # works and stands nowhere could not be revoked by anyone.
            _write_secret(key_file, made.key)
    finally:
        await engine.dispose()
    return True


async def _works(conn: AsyncConnection, hasher: KeyHasher, key: str) -> bool:
    return is_api_key(key) and await repository.find_by_hash(conn, hasher.hash(key), timedelta(0)) is not None


def _read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _write_secret(path: Path, secret: str) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(secret + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m aperag_api.bootstrap", description=__doc__)
    parser.add_argument("--username", default="admin", help="name of the first user")
    parser.add_argument("--key-file", type=Path, required=True, help="file the API key is written to, readable by you")
    arguments = parser.parse_args()
    made = asyncio.run(bootstrap(Settings(), arguments.username, arguments.key_file))
    sys.stdout.write("created\n" if made else "unchanged\n")


if __name__ == "__main__":
    main()
