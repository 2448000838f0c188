"""OAuth's code flow with PKCE: the address that a person is sent to, and the tokens for the code they bring back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from authlib.common.urls import url_decode
from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.client import OAuth2Client

from aperag_api.identity.oauth.failures import ProviderFailed, Unproved
from aperag_common.outbound.client import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_api.identity.oauth.asking import Asking
    from aperag_api.identity.oauth.flow import Flow
    from aperag_api.identity.oauth.providers import Provider

PKCE = "S256"


class _Client(OAuth2Client):
    """Authlib's protocol, with requests that go through our guard."""

    def __init__(self, asking: Asking, provider: Provider, auth_method: str) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # the library has no types
            session=None,
            client_id=provider.settings.client_id,
            client_secret=provider.secret,
            token_endpoint_auth_method=auth_method if provider.secret else "none",
            scope=provider.scope,
            redirect_uri=provider.redirect_uri,
            code_challenge_method=PKCE,
        )
        self._asking = asking

    async def _fetch_token(
        self, url: str, body: str = "", headers: Any = None, auth: Any = None, method: str = "POST", **_: Any
    ) -> dict[str, Any]:
        url, headers, body = auth.prepare(method, url, dict(headers), body)
        call = Call(url, method=method, headers=headers, form=dict(url_decode(body)), redirects=0)
        received = await self._asking.receive(call)
        answer = httpx.Response(received.head.status, content=received.content, request=httpx.Request(method, url))
        parsed: dict[str, Any] = self.parse_response_token(answer)  # type: ignore[no-untyped-call]  # the library has no types
        return parsed


def authorization_url(asking: Asking, provider: Provider, endpoint: str, flow: Flow) -> str:
    client = _Client(asking, provider, "none")
    extra = {} if provider.issuer is None else {"nonce": flow.nonce}
    url, _ = client.create_authorization_url(  # type: ignore[no-untyped-call]  # the library has no types
        endpoint, state=flow.state, code_verifier=flow.verifier, **extra
    )
    return str(url)


async def tokens_for(
    asking: Asking, provider: Provider, endpoint: str, *, code: str, flow: Flow, auth_method: str
) -> Mapping[str, Any]:
    """Raises ``Unproved`` where the provider refuses the code, for one that was used before as for any other."""
    client = _Client(asking, provider, auth_method)
    try:
        tokens = await client.fetch_token(  # type: ignore[no-untyped-call]  # the library has no types
            endpoint, grant_type="authorization_code", code=code, code_verifier=flow.verifier
        )
    except OAuth2Error as err:
        raise Unproved(f"the code was refused: {err.error}") from err
    except (ValueError, httpx.HTTPStatusError) as err:
        raise ProviderFailed(provider.name, "the token endpoint failed") from err
    if not isinstance(tokens.get("access_token"), str):
        raise ProviderFailed(provider.name, "the token endpoint gave no access token")
    return dict(tokens)
