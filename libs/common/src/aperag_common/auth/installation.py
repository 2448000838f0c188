"""The installation's secret, as a service is given it: everything else that is secret is made from it or under it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

FEWEST_BYTES = 16
FEWEST_CHARACTERS = 6
"""Different ones: what has fewer was typed, not drawn."""
FEWEST_BEYOND_WORDS = 8

_WORDS = re.compile(
    "aperag|change|default|example|here|insecure|jwt|key|long|my|not|own|password|placeholder|please|random|replace"
    "|secret|set|some|string|super|test|the|this|to|token|value|with|you|your|[^0-9a-z]"
)
"""What secrets in sample files consist of."""


class SecretRefused(ValueError):
    """The secret would protect nothing; the message never shows it."""


@dataclass(frozen=True, slots=True)
class InstallationSecret:
    """``previous`` are those before it, newest first: they decrypt and verify, but nothing new is made under them."""

    current: SecretStr = field(repr=False)
    previous: tuple[SecretStr, ...] = field(default=(), repr=False)

    @property
    def all(self) -> tuple[SecretStr, ...]:
        """The present one first."""
        return (self.current, *self.previous)

    @classmethod
    def of(cls, current: SecretStr | None, previous: Iterable[SecretStr] = ()) -> InstallationSecret:
        """Raises ``SecretRefused`` where there is none, or one that everybody can guess."""
        if current is None or not current.get_secret_value():
            message = (
                "APERAG_SECRET_KEY is not set: API keys, sessions and stored credentials depend on it."
                " Set it to 32 random bytes, as `openssl rand -hex 32` prints them"
            )
            raise SecretRefused(message)
        check_secret(current, "APERAG_SECRET_KEY")
        return cls(current, tuple(secret for secret in previous if secret.get_secret_value()))


def check_secret(secret: SecretStr, name: str, *, fewest: int = FEWEST_BYTES) -> None:
    """Raises ``SecretRefused`` where it is too short, or one that everybody can guess; ``name`` is the setting's."""
    value = secret.get_secret_value().strip()
    if len(value.encode()) < fewest:
        raise SecretRefused(f"{name} must hold at least {fewest} bytes: set it to what `openssl rand -hex 32` prints")
    if len(set(value)) < FEWEST_CHARACTERS or len(_WORDS.sub("", value.lower())) < FEWEST_BEYOND_WORDS:
        message = f"{name} is a placeholder that everybody knows: set it to what `openssl rand -hex 32` prints"
        raise SecretRefused(message)
