"""Keys made from the installation's secret, one for each purpose: none of them tells anything of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from pydantic import SecretStr

BYTES = 32


def derive(secret: SecretStr, purpose: str) -> bytes:
    """32 bytes by HKDF-SHA256; ``purpose`` is a name that never changes, such as ``aperag/session``."""
    return HKDF(SHA256(), BYTES, salt=None, info=purpose.encode()).derive(secret.get_secret_value().encode())
