"""API keys: made once, shown once, kept only as a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aperag_common.auth.derived import derive
from aperag_common.auth.installation import FEWEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

PURPOSE = "aperag/api-key"

_KEY = re.compile(r"sk-[0-9a-f]{32}\Z")


def new_api_key() -> str:
    return "sk-" + secrets.token_hex(16)


def is_api_key(value: str) -> bool:
    """Whether ``value`` has the form of a key, so that nothing else costs a look-up."""
    return _KEY.match(value) is not None


def mask(key: str) -> str:
    """What lists show: enough for its owner to tell keys apart, too little to guess one."""
    return f"{key[:7]}****{key[-4:]}"


@dataclass(frozen=True, slots=True)
class KeyHasher:
    """Hashes keys under the installation's secret: a stolen table alone verifies no guess.

    ``older`` are the hash keys of before: those of earlier secrets, and every secret itself, which the first releases
    used as it is. A hash cannot be made again without its key, so each stays valid until that key is used.
    """

    secret: bytes = field(repr=False)
    older: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, secret: SecretStr, previous: Iterable[SecretStr] = ()) -> KeyHasher:
        if len(secret.get_secret_value().encode()) < FEWEST_BYTES:
            raise ValueError(f"APERAG_SECRET_KEY must hold at least {FEWEST_BYTES} bytes")
        first, *older = (
            made for it in (secret, *previous) for made in (derive(it, PURPOSE), it.get_secret_value().encode())
        )
        return cls(first, tuple(older))

    def hash(self, key: str) -> str:
        """64 hexadecimal characters: what is kept from now on."""
        return _hash(self.secret, key)

    def candidates(self, key: str) -> tuple[str, ...]:
        """Every hash under which ``key`` may stand in the table, the one it should stand under first."""
        return tuple(_hash(secret, key) for secret in (self.secret, *self.older))


def _hash(secret: bytes, key: str) -> str:
    return hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()
