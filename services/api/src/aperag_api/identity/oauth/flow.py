"""What a sign-in must remember until the person is back from the provider; it travels in their own browser."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from itsdangerous import BadData, URLSafeTimedSerializer

from aperag_common.auth.derived import derive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

PURPOSE = "aperag/oauth-flow"
LIFETIME = timedelta(minutes=10)
RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Flow:
    """``state`` comes back in the address, ``nonce`` in the id token; ``verifier`` is what PKCE keeps back."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def begin(cls) -> Flow:
        return cls(*(secrets.token_urlsafe(RANDOM_BYTES) for _ in range(3)))

    def is_answered_by(self, state: str) -> bool:
        return hmac.compare_digest(self.state.encode(), state.encode())


@dataclass(frozen=True, slots=True)
class FlowSeal:
    """Signs flows, each for one provider: any replica can finish what another one began."""

    keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, secret: SecretStr, previous: Iterable[SecretStr] = ()) -> FlowSeal:
        return cls(tuple(derive(it, PURPOSE) for it in (secret, *previous)))

    def seal(self, provider: str, flow: Flow) -> str:
        sealed = self._serializer(provider).dumps(asdict(flow))
        return sealed if isinstance(sealed, str) else sealed.decode()

    def open(self, provider: str, sealed: str) -> Flow | None:
        """None for what was sealed elsewhere, for another provider, or too long ago."""
        try:
            return Flow(**self._serializer(provider).loads(sealed, max_age=int(LIFETIME.total_seconds())))
        except (BadData, TypeError):
            return None

    def _serializer(self, provider: str) -> URLSafeTimedSerializer:
        # The library signs with the last key of the list.
        keys = list(reversed(self.keys))
        return URLSafeTimedSerializer(keys, salt=f"{PURPOSE}/{provider}", signer_kwargs={"digest_method": sha256})
