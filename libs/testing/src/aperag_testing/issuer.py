"""An OpenID Connect provider under test, over real HTTP: it does what a test says, also what no decent one would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings

CLIENT_ID = "aperag-tests"
CLIENT_SECRET = "a secret of the tests"  # noqa: S105 - guards nothing


@dataclass(slots=True)
class Issued:
    """A code that was given out, and what it was asked for with."""

    nonce: str | None
    challenge: str | None
    redirect_uri: str
    claims: dict[str, Any]
    used: bool = False


@dataclass(slots=True)
class Issuer:
    """``claims`` are of the person who agrees next; a claim that is None is left out.

    ``lies`` replace claims of the id token, ``told`` what the user info says; bytes in ``signs_with`` are a shared secret.
    """

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] | None = None
    emails: list[dict[str, Any]] = field(default_factory=list)
    algorithm: str = "RS256"
    signs_with: RSAKey | bytes | None = None
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first", "use": "sig"}))
    codes: dict[str, Issued] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def rotate(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self._configuration),
            Route("/jwks", self._keys),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
            Route("/userinfo", self._userinfo),
            Route("/user", self._userinfo),
            Route("/user/emails", self._emails),
        ]

    async def _configuration(self, request: Request) -> Response:
        self._note(request)
        named = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        addresses = {name: f"{self.url}/{path}" for name, path in (*named.items(), ("userinfo_endpoint", "userinfo"))}
        return JSONResponse({"issuer": self.url, **addresses, **self.metadata})

    async def _keys(self, request: Request) -> Response:
        self._note(request)
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        """Whoever comes here agrees at once."""
        asked, code = request.query_params, secrets.token_urlsafe(16)
        self._note(request)
        self.codes[code] = Issued(
            asked.get("nonce"), asked.get("code_challenge"), asked["redirect_uri"], dict(self.claims)
        )
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def _token(self, request: Request) -> Response:
        self._note(request)
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        issued = self.codes.get(form.get("code", ""))
        right = issued is not None and not issued.used and self._proves(issued, form)
        if issued is None or not right or not _is_client(request, form):
            return JSONResponse({"error": "invalid_grant"}, 400)
        issued.used = True
        access_token = f"access-{form['code']}"
        return JSONResponse({"access_token": access_token, "token_type": "Bearer", "id_token": self.id_token(issued)})

    def _proves(self, issued: Issued, form: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return challenge == issued.challenge and form.get("redirect_uri") == issued.redirect_uri

    def id_token(self, issued: Issued) -> str:
        now = int(time.time())
        usual = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": issued.nonce}
        claims = {name: value for name, value in {**usual, **issued.claims, **self.lies}.items() if value is not None}
        if self.algorithm == "none":
            head, body = (_encoded(part) for part in (b'{"alg":"none"}', _json(claims)))
            return f"{head}.{body}."
        header = {"alg": self.algorithm, "kid": self.key.kid}
        if isinstance(self.signs_with, bytes):
            signed = f"{_encoded(_json(header))}.{_encoded(_json(claims))}"
            return f"{signed}.{_encoded(hmac.digest(self.signs_with, signed.encode(), 'sha256'))}"
        return jwt.encode(header, claims, self.signs_with or self.key, algorithms=[self.algorithm])

    async def _userinfo(self, request: Request) -> Response:
        self._note(request)
        code = request.headers.get("authorization", "").removeprefix("Bearer access-")
        if code not in self.codes:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(self.codes[code].claims if self.told is None else self.told)

    async def _emails(self, request: Request) -> Response:
        self._note(request)
        return JSONResponse(self.emails)

    def _note(self, request: Request) -> None:
        self.asked.append(request.url.path)


def _is_client(request: Request, form: dict[str, str]) -> bool:
    given = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    by_header = request.headers.get("authorization") == f"Basic {given}"
    return by_header or (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)


def returned(location: str) -> dict[str, str]:
    """What a browser brings back from the provider, from the address that it is sent to."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


@asynccontextmanager
async def open_issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    server = HttpServer(HttpSettings(port=0), Starlette(routes=issuer.routes()))
    await server.start()
    issuer.url = f"http://127.0.0.1:{server.port}"
    try:
        yield issuer
    finally:
        await server.stop()


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def _json(claims: dict[str, Any]) -> bytes:
    return json.dumps(claims).encode()
