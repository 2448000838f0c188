"""API keys: made once, shown once, kept only as a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

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
    """Hashes keys under the installation's secret: a stolen table alone verifies no guess."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: SecretStr) -> KeyHasher:
        value = secret.get_secret_value().encode()
        if len(value) < 16:
            message = "APERAG_SECRET_KEY must hold at least 16 bytes"
            raise ValueError(message)
        return cls(value)

    def hash(self, key: str) -> str:
        """64 hexadecimal characters."""
        return hmac.new(self.secret, key.encode(), hashlib.sha256).hexdigest()
