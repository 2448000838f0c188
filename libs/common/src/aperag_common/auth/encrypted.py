"""Every place of the database that holds tokens of the vault: what a rotation of the secret has to encrypt again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A column of tokens, or, with ``inside``, of JSON objects whose member of that name maps fields to tokens.

    ``where`` is the condition of rows that are encrypted, in SQL. ``apart``: not under the installation's secret but
    under that of providers' keys (and webhooks' secrets), which services are given that must not know the other (``aperag_models.keys``).
    """

    table: str
    column: str
    key: str
    inside: str | None = None
    where: str = "true"
    apart: bool = False

    def context(self, key: str, field: str | None = None) -> str:
        """What the vault binds a token to: the one spelling that all writers use."""
        return ".".join(part for part in (self.table, self.column, field) if part) + f":{key}"


INVITATION_TOKEN = Encrypted("invitation", "token", "id")
SETTING_VALUE = Encrypted("setting", "value", "name", where="encrypted")
COLLECTION_CREDENTIALS = Encrypted("collection", "config", "id", inside="credentials")
PROVIDER_KEY = Encrypted("llm_provider", "api_key", "name", where="api_key IS NOT NULL", apart=True)
WEBHOOK_SECRET = Encrypted("webhook_endpoint", "secret", "id", apart=True)
WEBHOOK_PREVIOUS_SECRET = Encrypted(
    "webhook_endpoint", "previous_secret", "id", where="previous_secret IS NOT NULL", apart=True
)

ENCRYPTED: tuple[Encrypted, ...] = (
    INVITATION_TOKEN,
    SETTING_VALUE,
    COLLECTION_CREDENTIALS,
    PROVIDER_KEY,
    WEBHOOK_SECRET,
    WEBHOOK_PREVIOUS_SECRET,
)
