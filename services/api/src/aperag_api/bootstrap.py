"""``python -m aperag_api.bootstrap``: the first user with an API key and a password; safe to repeat."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_api.access.quotas import repository as quotas
from aperag_api.edge.identity import everybody_has
from aperag_api.edge.settings import Settings
from aperag_api.identity.accounts import repository as users
from aperag_api.identity.accounts.admission import FIRST_KEY, Admission, Newcomer
from aperag_api.identity.accounts.names import name_key
from aperag_api.identity.accounts.passwords import Passwords
from aperag_api.identity.apikeys import repository
from aperag_api.identity.apikeys.keys import KeyHasher, is_api_key
from aperag_api.identity.apikeys.service import issue
from aperag_api.identity.events.record import record_key, record_user
from aperag_api.identity.sessions.repository import revoke_all
from aperag_api.kernel.auth import Role
from aperag_common.auth.installation import InstallationSecret
from aperag_common.db.models import QuotaType
from aperag_common.db.session import make_engine
from aperag_common.events import accounts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

PASSWORD_BYTES = 18
UNLIMITED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _NewPassword:
    plain: str
    encoded: str


async def bootstrap(
    settings: Settings, username: str, key_file: Path, password_file: Path | None = None, *, own_machine: bool = False
) -> bool:
    """Whether anything was made: no key where ``key_file`` holds one that works, no password where its file is there.

    On their ``own_machine`` nobody but the disk limits what a new first user owns.
    A user of an earlier release gets what newcomers have since then.
    """
    secret = InstallationSecret.of(settings.secret_key, settings.secret_key_previous)
    admission = Admission(KeyHasher.of(secret.current, secret.previous), everybody_has(settings))
    wanted = password_file is not None and not _read_secret(password_file)
    password = await _new_password(settings) if wanted else None
    engine = make_engine(settings.postgres, name="aperag-bootstrap")
    try:
        async with engine.begin() as conn:
            # Events are left to the reconciler: this process has no connection to NATS.
            key = await _provide(conn, admission, username, _read_secret(key_file), password, own_machine=own_machine)
            # Before the commit: a file with a secret that does not work is replaced by the next run, but one that
            # works and stands nowhere could be used and revoked by nobody.
            if key is not None:
                _write_secret(key_file, key)
            if password is not None and password_file is not None:
                _write_secret(password_file, password.plain)
    finally:
        await engine.dispose()
    return key is not None or password is not None


async def _provide(
    conn: AsyncConnection,
    admission: Admission,
    username: str,
    key: str,
    password: _NewPassword | None,
    *,
    own_machine: bool,
) -> str | None:
    """The new key, where ``key`` does not work."""
    await users.lock_first(conn)
    user = await users.by_key(conn, name_key(username))
    encoded = None if password is None else password.encoded
    if user is None:
        made = await admission.admit(conn, Newcomer(username, Role.ADMIN, password_hash=encoded))
        for quota_type in QuotaType if own_machine else ():
            await quotas.set_limit(conn, made.user.id, quota_type, UNLIMITED)
        return made.api_key
    await admission.provide(conn, user.id)
    if encoded is not None:
        await users.set_password(conn, user.id, old=user.password_hash, new=encoded)
        await revoke_all(conn, user.id)
        await record_user(conn, accounts.UserPasswordChanged, user.id)
    if await _works(conn, admission.hasher, key):
        return None
    issued = await issue(conn, admission.hasher, user.id, FIRST_KEY)
    await record_key(conn, accounts.KeyCreated, user.id, issued.id)
    return issued.key


async def _new_password(settings: Settings) -> _NewPassword:
    passwords, plain = Passwords(settings.passwords), secrets.token_urlsafe(PASSWORD_BYTES)
    try:
        return _NewPassword(plain, await passwords.hash(plain))
    finally:
        passwords.close()


async def _works(conn: AsyncConnection, hasher: KeyHasher, key: str) -> bool:
    return is_api_key(key) and await repository.find_by_hash(conn, hasher.candidates(key), timedelta(0)) is not None


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
    parser.add_argument("--password-file", type=Path, help="file a password is written to, readable by you")
    parser.add_argument("--own-machine", action="store_true", help="the first user has no quotas")
    given = parser.parse_args()
    made = asyncio.run(
        bootstrap(Settings(), given.username, given.key_file, given.password_file, own_machine=given.own_machine)
    )
    sys.stdout.write("created\n" if made else "unchanged\n")


if __name__ == "__main__":
    main()
