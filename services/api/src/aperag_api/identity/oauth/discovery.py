"""What an OpenID Connect issuer says of itself: its addresses, and the keys that it signs with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from aperag_api.identity.oauth.failures import ProviderFailed

if TYPE_CHECKING:
    from aperag_api.identity.oauth.asking import Asking

KEPT_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 60.0
"""A key that is not known is looked for no more often: anybody can send a token that names one."""

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures that only the issuer can make: never `none`, never a secret that both sides know."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """``issuer`` exactly as it stands in its tokens."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    algorithms: tuple[str, ...]
    auth_method: str


@dataclass(slots=True)
class Discovery:
    """Of one issuer; what it said is kept for an hour."""

    asking: Asking
    issuer: str
    _found: Issuer | None = None
    _found_at: float = 0.0
    _keys: KeySet | None = field(default=None, repr=False)
    _keys_at: float = 0.0

    async def metadata(self) -> Issuer:
        if self._found is None or time.monotonic() > self._found_at + KEPT_SECONDS:
            said = await self.asking.object(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            self._found, self._found_at = self._read(said), time.monotonic()
        return self._found

    async def keys(self, *, fresh: bool = False) -> KeySet:
        """``fresh``: a token names a key that is not among those we have."""
        age = time.monotonic() - self._keys_at
        if self._keys is None or age > KEPT_SECONDS or (fresh and age > KEYS_AGAIN_SECONDS):
            said = await self.asking.object((await self.metadata()).jwks_uri)
            try:
                self._keys = KeySet.import_key_set(said)  # type: ignore[arg-type]  # what it is not it refuses
            except (JoseError, ValueError, KeyError, TypeError) as err:
                raise ProviderFailed(self.asking.provider, "its keys cannot be read") from err
            self._keys_at = time.monotonic()
        return self._keys

    def _read(self, said: dict[str, Any]) -> Issuer:
        if said.get("issuer", "").rstrip("/") != self.issuer.rstrip("/"):
            raise ProviderFailed(self.asking.provider, f"it calls itself {said.get('issuer')!r}")
        offered = said.get("id_token_signing_alg_values_supported") or ["RS256"]
        methods = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Issuer(
            issuer=said["issuer"],
            authorization_endpoint=self._address(said, "authorization_endpoint"),
            token_endpoint=self._address(said, "token_endpoint"),
            jwks_uri=self._address(said, "jwks_uri"),
            userinfo_endpoint=self._address(said, "userinfo_endpoint") if said.get("userinfo_endpoint") else None,
            algorithms=tuple(it for it in ALGORITHMS if it in offered),
            auth_method="client_secret_basic" if "client_secret_basic" in methods else "client_secret_post",
        )

    def _address(self, said: dict[str, Any], name: str) -> str:
        """Over TLS wherever the issuer itself is."""
        address = said.get(name)
        if not isinstance(address, str) or urlsplit(address).scheme not in {"https", urlsplit(self.issuer).scheme}:
            raise ProviderFailed(self.asking.provider, f"its {name} is no address to ask")
        return address
