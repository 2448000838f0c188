"""Passwords: kept only as Argon2id, compared without telling by time whether there is anything to compare with."""

from __future__ import annotations

import asyncio
import base64
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import Field, PositiveInt

from aperag_common import errors
from aperag_common.settings import Block

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

AT_ONCE = 2
"""Each takes the memory of the settings and a core for a moment."""
MOST_WAITING = 64
FEWEST_DIFFERENT = 5
LONG_ENOUGH = 4
"""Characters of a name that say something of its user."""
GUESSED = frozenset(
    {
        *(
            "password",
            "passwort",
            "passw",
            "passwd",
            "pass",
            "qwerty",
            "qwertyuiop",
            "qwertz",
            "asdf",
            "asdfghjkl",
            "letmein",
        ),
        *(
            "welcome",
            "admin",
            "administrator",
            "root",
            "login",
            "user",
            "test",
            "guest",
            "changeme",
            "secret",
            "iloveyou",
        ),
        *(
            "aperag",
            "dragon",
            "monkey",
            "football",
            "baseball",
            "sunshine",
            "princess",
            "master",
            "abc",
            "abcd",
            "hello",
        ),
    }
)
"""Letters of passwords that every list of guesses begins with, whatever digits and signs stand around them."""
ROWS = ("01234567890123456789", "98765432109876543210", "qwertyuiopasdfghjklzxcvbnm", "abcdefghijklmnopqrstuvwxyz")
SALT_BYTES = 16
HASH_BYTES = 32


class PasswordSettings(Block):
    """What a hash costs, and how long passwords are; a hash of another cost is replaced at the next login."""

    memory_kib: PositiveInt = Field(65_536, ge=8, le=4_194_304, description="memory of one Argon2id hash")
    rounds: PositiveInt = Field(3, le=100, description="passes over that memory")
    lanes: PositiveInt = Field(4, le=16, description="threads of one hash")
    shortest: PositiveInt = Field(10, le=256, description="fewest characters of a new password")
    longest: PositiveInt = Field(256, le=1024, description="most characters of a password")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``renewed`` is the hash to keep from now on, where the old one was made at another cost."""

    right: bool
    renewed: str | None = None


class Passwords:
    """Hashes off the event loop, ``AT_ONCE`` at a time; ``Busy`` where too many wait already."""

    def __init__(self, settings: PasswordSettings) -> None:
        self.settings = settings
        self._hasher = PasswordHasher(
            time_cost=settings.rounds,
            memory_cost=max(settings.memory_kib, 8 * settings.lanes),
            parallelism=settings.lanes,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=Type.ID,
        )
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._decoy = _decoy(self._hasher)
        self._waiting = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def problem(self, password: str, username: str | None = None) -> str | None:
        """Why it is no password that somebody may choose; None where it is one."""
        plain = _plain(password).casefold()
        if not self.settings.shortest <= len(_plain(password)) <= self.settings.longest:
            return f"A password has {self.settings.shortest} to {self.settings.longest} characters"
        if len(set(plain)) < FEWEST_DIFFERENT:
            return f"A password has at least {FEWEST_DIFFERENT} different characters"
        name = _plain(username or "").casefold()
        if len(name) >= LONG_ENOUGH and name in plain:
            return "A password does not hold the user's name"
        if "".join(filter(str.isalpha, plain)) in GUESSED or any(plain in row for row in ROWS):
            return "This password is among the first that are guessed: choose another one, such as four words"
        return None

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(_plain(password)))

    async def verify(self, password: str, encoded: str | None) -> Verdict:
        """The same work where there is nothing to compare with: an unknown user costs as much time as a known one."""
        given = _plain(password)[: self.settings.longest + 1]
        return await self._run(lambda: self._verify(given, encoded))

    def _verify(self, password: str, encoded: str | None) -> Verdict:
        try:
            self._hasher.verify(encoded or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return Verdict(right=False)
        if encoded is None:
            return Verdict(right=False)
        renews = self._hasher.check_needs_rehash(encoded)
        return Verdict(right=True, renewed=self._hasher.hash(password) if renews else None)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise errors.Busy("Too many passwords are being checked at this moment: try again in a second")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _plain(password: str) -> str:
    """Keyboards write the same character in different ways."""
    return unicodedata.normalize("NFKC", password)


def _decoy(hasher: PasswordHasher) -> str:
    """An encoded hash that belongs to no password: comparing with it is the whole work, and never succeeds."""
    parts = [base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (SALT_BYTES, HASH_BYTES)]
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${parts[0]}${parts[1]}"
