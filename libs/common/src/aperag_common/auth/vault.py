"""Secrets that must be read again stand encrypted: with AES-256-GCM, under a key made from the installation's secret."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aperag_common.auth.derived import derive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

PURPOSE = "aperag/vault"
NAME_PURPOSE = "aperag/vault-name"
NAME_BYTES = 4
NONCE_BYTES = 12
VERSION = "v1"

_TOKEN = re.compile(rf"{VERSION}\.([0-9a-f]{{{2 * NAME_BYTES}}})\.([A-Za-z0-9_-]+)\Z")


class VaultError(Exception):
    """A token cannot be decrypted; the message says why, and nothing of what it holds."""


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    cipher: AESGCM = field(repr=False)

    @classmethod
    def of(cls, secret: SecretStr) -> _Key:
        return cls(derive(secret, NAME_PURPOSE)[:NAME_BYTES].hex(), AESGCM(derive(secret, PURPOSE)))


@dataclass(frozen=True, slots=True)
class Vault:
    """Encrypts under the first key, decrypts under all.

    A token is ``v1.<name of the key>.<nonce and ciphertext>``. ``context`` binds it to its place: what was encrypted
    for one row and column cannot be decrypted as another's, wherever it was copied to.
    """

    keys: tuple[_Key, ...]

    @classmethod
    def of(cls, secret_key: SecretStr, previous: Iterable[SecretStr] = ()) -> Vault:
        return cls(tuple(_Key.of(secret) for secret in (secret_key, *previous)))

    @property
    def prefix(self) -> str:
        """How every token begins that is encrypted from now on."""
        return f"{VERSION}.{self.keys[0].name}."

    def encrypt(self, text: str, *, context: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self.keys[0].cipher.encrypt(nonce, text.encode(), context.encode())
        return f"{self.prefix}{base64.urlsafe_b64encode(nonce + sealed).decode().rstrip('=')}"

    def decrypt(self, token: str, *, context: str) -> str:
        """Raises ``VaultError``."""
        name, sealed = _parse(token)
        known = [key for key in self.keys if key.name == name]
        if not known:
            message = (
                "The value was encrypted under a secret that is not known here:"
                " add that secret to APERAG_SECRET_KEY_PREVIOUS"
            )
            raise VaultError(message)
        for key in known:
            try:
                return key.cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode()).decode()
            except InvalidTag:
                continue
        raise VaultError(f"The value was changed, or was not encrypted for {context}: enter it again")

    def is_current(self, token: str) -> bool:
        """Whether it was encrypted under the first key; nothing else is looked at."""
        return token.startswith(self.prefix)


def _parse(token: str) -> tuple[str, bytes]:
    parsed = _TOKEN.match(token)
    if parsed is None:
        raise VaultError("The value is no token of the vault: enter it again")
    try:
        sealed = base64.urlsafe_b64decode(parsed[2] + "=" * (-len(parsed[2]) % 4))
    except binascii.Error as err:
        raise VaultError("The value is cut short: enter it again") from err
    if len(sealed) <= NONCE_BYTES:
        raise VaultError("The value is cut short: enter it again")
    return parsed[1], sealed
