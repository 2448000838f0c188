"""NATS' JSON web tokens: the server's question who a client is, and the gateway's signed answer.

A token is ``header.claims.signature`` in base64url, signed with Ed25519 by an nkey (ADR 0028: why no library).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import nkeys

from aperag_api.kernel.masking import clean
from aperag_common.bus import accounts

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from aperag_common.bus.permissions import Permissions

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_VERSION = 2
_UNLIMITED = -1
SUBSCRIPTIONS = 1_000
"""Of one connection, at a time."""


@dataclass(frozen=True, slots=True)
class Question:
    """A connection that waits to be let in. ``user`` is the key that the server has made for it.

    ``expires`` is the Unix time after which nobody waits for an answer.
    """

    server_id: str
    user: str
    credential: str
    host: str
    client: str
    expires: float

    @classmethod
    def read(cls, token: bytes) -> Self:
        """Raises ``ValueError`` for what is no question. The server alone may publish one, so its word is enough."""
        try:
            claims = json.loads(_decoded(token.split(b".")[1]))
            asked = claims["nats"]
            options, client = asked["connect_opts"], asked["client_info"]
            return cls(
                server_id=str(asked["server_id"]["id"]),
                user=str(asked["user_nkey"]),
                credential=str(options.get("auth_token") or options.get("pass") or "").strip(),
                host=str(client.get("host", "")),
                client=clean(" ".join(str(options[it]) for it in ("name", "lang", "version") if options.get(it)), 200),
                expires=float(claims["exp"]),
            )
        except (KeyError, IndexError, TypeError, AttributeError) as err:
            message = "not a question of the server"
            raise ValueError(message) from err


class Signer:
    """Signs under the account seed whose public key the server's configuration names as ``issuer``."""

    def __init__(self, seed_file: Path) -> None:
        self._pair: Any = nkeys.from_seed(seed_file.read_bytes().strip())  # type: ignore[no-untyped-call]  # no types
        self._issuer = bytes(self._pair.public_key).decode("ascii")

    def let_in(self, question: Question, name: str, permissions: Permissions, until: datetime | None) -> bytes:
        """``name`` is what the server calls the connection from now on; it ends at ``until``."""
        user: dict[str, Any] = {"sub": question.user, "aud": accounts.OUTSIDE, "name": name}
        if until is not None:
            user["exp"] = int(until.timestamp())
        user["nats"] = {
            "type": "user",
            "version": _VERSION,
            "pub": _allow(permissions.publish),
            "sub": _allow(permissions.subscribe),
            "subs": SUBSCRIPTIONS,
            "data": _UNLIMITED,
            "payload": _UNLIMITED,
        }
        return self._answer(question, {"jwt": self._token(user)})

    def refuse(self, question: Question, reason: str) -> bytes:
        """The client is told of a violation; the server's log has the reason."""
        return self._answer(question, {"error": reason})

    def _answer(self, question: Question, answer: dict[str, str]) -> bytes:
        told = {"type": "authorization_response", "version": _VERSION, **answer}
        return self._token({"sub": question.user, "aud": question.server_id, "nats": told}).encode("ascii")

    def _token(self, claims: dict[str, Any]) -> str:
        dated = {**claims, "iss": self._issuer, "iat": int(time.time())}
        dated["jti"] = hashlib.sha256(_json(dated)).hexdigest()
        body = f"{_encoded(_json(_HEADER))}.{_encoded(_json(dated))}"
        return f"{body}.{_encoded(self._pair.sign(body.encode('ascii')))}"


def _allow(allowed: tuple[str, ...]) -> dict[str, list[str]]:
    """To the server an empty list of what is allowed means everything."""
    return {"allow": list(allowed)} if allowed else {"deny": [">"]}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _decoded(value: bytes) -> bytes:
    return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))
