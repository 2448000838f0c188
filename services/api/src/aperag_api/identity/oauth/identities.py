"""Who a person is, proved by what a provider signed or says for an access token that it has just given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jws import JWSRegistry

from aperag_api.identity.accounts.names import email_of
from aperag_api.identity.oauth.failures import ProviderFailed, Unproved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joserfc.jwk import KeySet

    from aperag_api.identity.oauth.asking import Asking
    from aperag_api.identity.oauth.discovery import Discovery, Issuer
    from aperag_api.identity.oauth.flow import Flow
    from aperag_api.identity.oauth.providers import Provider

LEEWAY_SECONDS = 60
LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Identity:
    """``email`` only where the provider says that it is this person's; ``name`` is what they would like to be called."""

    subject: str
    email: str | None
    name: str


async def identity_of(discovery: Discovery, provider: Provider, tokens: Mapping[str, Any], flow: Flow) -> Identity:
    """From the id token of an OpenID Connect provider; what it leaves out is asked for."""
    issuer = await discovery.metadata()
    claims = await _verified(discovery, issuer, provider, tokens, flow)
    if "email" not in claims and issuer.userinfo_endpoint is not None:
        told = await discovery.asking.object(issuer.userinfo_endpoint, bearer=tokens["access_token"])
        if told.get("sub") != claims["sub"]:
            raise Unproved("the user info is another person's")
        claims = {**told, **claims}
    told_so = claims.get("email_verified")  # some providers say it in words
    return _identity(claims["sub"], claims, verified=told_so is True or told_so == "true")


async def github_identity(asking: Asking, api: str, access_token: str) -> Identity:
    user = await asking.object(f"{api}/user", bearer=access_token)
    emails = await asking.json(f"{api}/user/emails", bearer=access_token)
    if not isinstance(user.get("id"), int) or not isinstance(emails, list):
        raise ProviderFailed(asking.provider, "the account cannot be read")
    proved = [it for it in emails if isinstance(it, dict) and it.get("verified") is True and it.get("primary") is True]
    claims = {"preferred_username": user.get("login"), "email": proved[0].get("email") if proved else None}
    return _identity(str(user["id"]), claims, verified=True)


async def _verified(
    discovery: Discovery, issuer: Issuer, provider: Provider, tokens: Mapping[str, Any], flow: Flow
) -> dict[str, Any]:
    """The claims of the id token; raises ``Unproved`` unless it is signed, fresh, and for us and this sign-in."""
    encoded = tokens.get("id_token")
    if not isinstance(encoded, str):
        raise ProviderFailed(provider.name, "the token endpoint gave no id token")
    try:
        try:
            token = _decode(encoded, await discovery.keys(), issuer)
        except InvalidKeyIdError:
            token = _decode(encoded, await discovery.keys(fresh=True), issuer)
        claims = CodeIDToken(
            token.claims,
            token.header,
            {
                "iss": {"essential": True, "value": issuer.issuer},
                "aud": {"essential": True, "value": provider.settings.client_id},
            },
            {"nonce": flow.nonce, "client_id": provider.settings.client_id, "access_token": tokens["access_token"]},
        )
        claims.validate(leeway=LEEWAY_SECONDS)
    except (JoseError, ValueError, TypeError) as err:
        raise Unproved(f"the id token is not valid: {err}") from err
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise Unproved("the id token names nobody")
    return dict(claims)


def _decode(encoded: str, keys: KeySet, issuer: Issuer) -> jwt.Token:
    registry = JWSRegistry(algorithms=list(issuer.algorithms), strict_check_header=False)
    return jwt.decode(encoded, keys, registry=registry)


def _identity(subject: str, claims: Mapping[str, Any], *, verified: bool) -> Identity:
    email = claims.get("email")
    try:
        # Normalising letters beyond ASCII would make one mailbox another's: such an address leads to nobody.
        proved = email_of(email) if verified and isinstance(email, str) and email.isascii() else None
    except ValueError:
        proved = None
    named = (claims.get(name) for name in ("preferred_username", "nickname", "name"))
    wished = next((it for it in named if isinstance(it, str) and it.strip()), "")
    return Identity(subject, proved, wished or (proved or "").partition("@")[0])
