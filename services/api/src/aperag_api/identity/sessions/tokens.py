"""Session tokens: a signed name of a session's row, worth nothing without that row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from aperag_common.auth.derived import BYTES, derive
from aperag_common.auth.installation import check_secret

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from pydantic import SecretStr

PURPOSE = "aperag/session"
ALGORITHM = "HS256"
AUDIENCE = "aperag:session"
LONGEST_TOKEN = 2048


@dataclass(frozen=True, slots=True)
class SessionName:
    """What a token says; whether the session is alive only its row knows."""

    session_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """Signs with the first key, reads with all: what was signed before a rotation is read until it ends."""

    keys: tuple[OctKey, ...] = field(repr=False)

    @classmethod
    def of(
        cls, secret: SecretStr, previous: Iterable[SecretStr] = (), *, own: SecretStr | None = None
    ) -> SessionTokens:
        """``own`` is a secret for sessions alone, used as it is: the installation's then signs and reads none."""
        if own is not None and own.get_secret_value():
            check_secret(own, "JWT_SECRET", fewest=BYTES)
            return cls((OctKey.import_key(own.get_secret_value()),))
        return cls(tuple(OctKey.import_key(derive(it, PURPOSE)) for it in (secret, *previous)))

    def sign(self, name: SessionName, *, issued: datetime, expires: datetime) -> str:
        """``issued`` and ``expires`` are for people who look into the token: nobody decides by them here."""
        claims = {"sub": name.user_id, "jti": name.session_id, "aud": AUDIENCE, "iat": issued, "exp": expires}
        return jwt.encode({"alg": ALGORITHM}, claims, self.keys[0], algorithms=[ALGORITHM])

    def read(self, token: str) -> SessionName | None:
        """None for whatever was not signed here."""
        if len(token) > LONGEST_TOKEN:
            return None
        for key in self.keys:
            try:
                claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
            except (JoseError, ValueError):
                continue
            session_id, user_id = claims.get("jti"), claims.get("sub")
            if claims.get("aud") == AUDIENCE and isinstance(session_id, str) and isinstance(user_id, str):
                return SessionName(session_id, user_id)
        return None
