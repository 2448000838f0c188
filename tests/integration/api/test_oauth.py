"""Signing in with a provider, over real HTTP to a provider under test: what proves a person, and what must not."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey
from sqlalchemy import text

from aperag_api.edge.app import make_app, open_gateway
from aperag_api.identity.oauth.settings import GithubAddresses, OAuthSettings, ProviderSettings
from aperag_api.identity.settings import RegisterMode
from aperag_common.health import Health
from aperag_common.outbound.settings import OutboundSettings
from aperag_testing.issuer import CLIENT_ID, CLIENT_SECRET, Issuer, open_issuer, returned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings
    from aperag_work.runtime import Runtime

Visitor = httpx.AsyncClient
MakeVisitor = Any

CONSOLE = "https://console.example.org/oauth"
PASSWORD = "correct horse battery"
PERSON = {"sub": "person-1", "email": "Person@Example.org", "email_verified": True, "preferred_username": "person"}


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with open_issuer() as issuer:
        issuer.claims = dict(PERSON)
        yield issuer


def provided(settings: Settings, issuer: Issuer, **changes: Any) -> Settings:
    known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    github = GithubAddresses(authorize=f"{issuer.url}/authorize", token=f"{issuer.url}/token", api=issuer.url)
    providers = {
        "acme": ProviderSettings(**known, issuer=issuer.url, label="Acme"),
        "github": ProviderSettings(**known, github=github),
    }
    values = {
        "oauth": OAuthSettings(providers=providers, landing_url="https://console.example.org/"),
        "oauth_redirect_url": CONSOLE,
        "outbound": OutboundSettings(allow=("127.0.0.1",)),
        **changes,
    }
    return settings.model_copy(update=values)


@pytest_asyncio.fixture
async def make_gateway(
    runtime: Runtime, settings: Settings, issuer: Issuer
) -> AsyncIterator[Callable[..., Awaitable[FastAPI]]]:
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> FastAPI:
            own = provided(settings, issuer, **changes)
            replica = replace(runtime, health=Health())
            gateway = await stack.enter_async_context(open_gateway(replica, own))
            return make_app(gateway, replica, own)

        yield make


@pytest_asyncio.fixture
async def app(make_gateway: Callable[..., Awaitable[FastAPI]]) -> FastAPI:
    return await make_gateway()


@pytest_asyncio.fixture
async def browser(make_visitor: MakeVisitor) -> Visitor:
    visitor: Visitor = await make_visitor()
    return visitor


async def sent_back(browser: Visitor, provider: str = "acme") -> dict[str, str]:
    """The browser goes to the provider and agrees; what it is sent back with."""
    answer = await browser.get(f"/auth/{provider}/authorize")
    assert answer.status_code == 200, answer.text
    async with httpx.AsyncClient(trust_env=False) as web:
        agreed = await web.get(answer.json()["authorization_url"])
    assert agreed.status_code == 307
    assert agreed.headers["location"].startswith(f"{CONSOLE}/{provider}?")
    return returned(agreed.headers["location"])


async def sign_in(browser: Visitor, provider: str = "acme") -> httpx.Response:
    return await browser.get(f"/auth/{provider}/callback", params=await sent_back(browser, provider))


async def verify(engine: AsyncEngine) -> None:
    """As an invitation to it would have."""
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET email_verified = true"))


async def users(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as conn:
        found = await conn.execute(
            text("SELECT id, username, email, role, registration_source, password_hash FROM users ORDER BY created, id")
        )
        return list(found.all())


async def nobody_came_in(browser: Visitor, engine: AsyncEngine, answer: httpx.Response, status: int = 400) -> bool:
    refused = answer.status_code == status and "session" not in browser.cookies
    return refused and await users(engine) == [] and (await browser.get("/user")).status_code == 401


async def test_who_agrees_at_the_provider_is_a_user_with_a_session(
    browser: Visitor, issuer: Issuer, engine: AsyncEngine
) -> None:
    answer = await sign_in(browser)
    assert (answer.status_code, answer.content) == (204, b"")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    user = (await browser.get("/user")).json()
    assert (user["username"], user["email"], user["role"]) == ("person", "person@example.org", "admin")
    assert user["registration_source"] == "acme"
    assert (await users(engine))[0].password_hash is None
    async with engine.connect() as conn:
        owned = "SELECT (SELECT count(*) FROM bot), (SELECT count(*) FROM api_key), (SELECT count(*) FROM user_quota)"
        assert tuple((await conn.execute(text(owned))).one()) == (1, 1, 4)
    assert issuer.asked.count("/jwks") == 1


async def test_the_address_asks_for_a_code_with_state_nonce_and_a_challenge(browser: Visitor, issuer: Issuer) -> None:
    answer = await browser.get("/auth/acme/authorize")
    address = answer.json()["authorization_url"]
    asked = returned(address)
    assert address.startswith(f"{issuer.url}/authorize?")
    assert asked["redirect_uri"] == f"{CONSOLE}/acme"
    assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT_ID, "S256")
    assert set(asked["scope"].split()) == {"openid", "email", "profile"}
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert all(len(asked[name]) > 40 for name in ("state", "nonce", "code_challenge"))
    again = returned((await browser.get("/auth/acme/authorize")).json()["authorization_url"])
    assert all(asked[name] != again[name] for name in ("state", "nonce", "code_challenge"))


async def test_a_cookie_tells_whether_it_came_over_tls(app: FastAPI, make_visitor: MakeVisitor) -> None:
    browser = await make_visitor()
    assert "secure" not in (await browser.get("/auth/acme/authorize")).headers["set-cookie"].lower()
    browser.base_url = "https://gateway/api/v1"
    assert "secure" in (await browser.get("/auth/acme/authorize")).headers["set-cookie"].lower()


async def test_who_comes_again_is_the_same_user(
    browser: Visitor, make_visitor: MakeVisitor, issuer: Issuer, engine: AsyncEngine
) -> None:
    await sign_in(browser)
    issuer.claims = {**PERSON, "email": "moved@example.org", "preferred_username": "renamed"}
    elsewhere = await make_visitor()
    assert (await sign_in(elsewhere)).status_code == 204
    assert (await elsewhere.get("/user")).json()["id"] == (await browser.get("/user")).json()["id"]
    assert len(await users(engine)) == 1


async def test_many_sign_ins_of_one_person_at_once_make_one_user(
    make_visitor: MakeVisitor, issuer: Issuer, engine: AsyncEngine
) -> None:
    browsers = [await make_visitor() for _ in range(6)]
    answers = await asyncio.gather(*(sign_in(browser) for browser in browsers))
    assert [answer.status_code for answer in answers] == [204] * 6
    assert len({(await browser.get("/user")).json()["id"] for browser in browsers}) == 1
    assert len(await users(engine)) == 1


async def test_a_sign_in_that_one_replica_began_is_finished_by_another(
    browser: Visitor, make_gateway: Callable[..., Awaitable[FastAPI]], make_visitor: MakeVisitor
) -> None:
    back = await sent_back(browser)
    other = await make_visitor(application=await make_gateway())
    other.cookies = browser.cookies
    assert (await other.get("/auth/acme/callback", params=back)).status_code == 204


LIES: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "of another sign-in"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "another-client"},
    "no audience": {"aud": None},
    "several audiences and another party": {"aud": [CLIENT_ID, "other"], "azp": "other"},
    "another issuer": {"iss": "https://evil.example.org"},
    "expired": {"exp": 1_000_000_000},
    "no expiry": {"exp": None},
    "expiry that is no number": {"exp": "tomorrow"},
    "from the future": {"iat": 32_000_000_000},
    "nobody": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": {"a": 1}},
    "a subject of 300 characters": {"sub": "s" * 300},
    "another access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_id_token_that_lies_proves_nobody(
    browser: Visitor, issuer: Issuer, engine: AsyncEngine, lie: str
) -> None:
    issuer.lies = LIES[lie]
    assert await nobody_came_in(browser, engine, await sign_in(browser))


async def test_a_signature_of_anybody_else_proves_nobody(browser: Visitor, issuer: Issuer, engine: AsyncEngine) -> None:
    issuer.signs_with = RSAKey.generate_key(2048)
    assert await nobody_came_in(browser, engine, await sign_in(browser))


async def test_no_signature_proves_nobody(browser: Visitor, issuer: Issuer, engine: AsyncEngine) -> None:
    issuer.algorithm = "none"
    issuer.metadata = {"id_token_signing_alg_values_supported": ["none", "RS256"]}
    assert await nobody_came_in(browser, engine, await sign_in(browser))


@pytest.mark.parametrize("secret", ["the client's", "the public key"])
async def test_a_signature_with_what_both_sides_know_proves_nobody(
    browser: Visitor, issuer: Issuer, engine: AsyncEngine, secret: str
) -> None:
    known = CLIENT_SECRET.encode() if secret == "the client's" else issuer.key.as_pem(private=False)
    issuer.algorithm, issuer.signs_with = "HS256", known
    issuer.metadata = {"id_token_signing_alg_values_supported": ["HS256", "RS256"]}
    assert await nobody_came_in(browser, engine, await sign_in(browser))


async def test_an_answer_to_no_sign_in_of_this_browser_proves_nobody(
    browser: Visitor, make_visitor: MakeVisitor, engine: AsyncEngine, issuer: Issuer
) -> None:
    back = await sent_back(browser)
    victim = await make_visitor()
    assert await nobody_came_in(victim, engine, await victim.get("/auth/acme/callback", params=back))
    await victim.get("/auth/acme/authorize")  # with a sign-in of its own under way
    assert await nobody_came_in(victim, engine, await victim.get("/auth/acme/callback", params=back))
    wrong = {**back, "state": back["state"][:-1]}
    assert await nobody_came_in(browser, engine, await browser.get("/auth/acme/callback", params=wrong))
    assert "/token" not in issuer.asked


async def test_an_answer_is_taken_only_for_its_own_provider(
    browser: Visitor, engine: AsyncEngine, issuer: Issuer
) -> None:
    back = await sent_back(browser, "github")
    sealed = browser.cookies["aperag_oauth_github"]
    browser.cookies.set("aperag_oauth_acme", sealed, domain="gateway.local")
    assert await nobody_came_in(browser, engine, await browser.get("/auth/acme/callback", params=back))
    assert "/token" not in issuer.asked


async def test_a_sign_in_cannot_wait_for_ever(
    browser: Visitor, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, now = await sent_back(browser), time.time()
    with monkeypatch.context() as patch:
        patch.setattr("itsdangerous.timed.time.time", lambda: now + 601)
        answer = await browser.get("/auth/acme/callback", params=back)
    assert await nobody_came_in(browser, engine, answer)


async def test_a_code_is_worth_one_session(browser: Visitor, make_visitor: MakeVisitor) -> None:
    back = await sent_back(browser)
    cookies = httpx.Cookies(browser.cookies)
    assert (await browser.get("/auth/acme/callback", params=back)).status_code == 204
    replaying = await make_visitor()
    replaying.cookies = cookies
    assert (await replaying.get("/auth/acme/callback", params=back)).status_code == 400
    assert "session" not in replaying.cookies
    # The browser itself has forgotten the sign-in.
    assert (await browser.get("/auth/acme/callback", params=back)).status_code == 400


async def test_a_provider_that_refuses_makes_nobody(browser: Visitor, engine: AsyncEngine) -> None:
    back = await sent_back(browser)
    refused = {"error": "access_denied", "state": back["state"]}
    assert await nobody_came_in(browser, engine, await browser.get("/auth/acme/callback", params=refused))


async def test_keys_that_the_provider_changed_are_fetched_again(
    browser: Visitor, make_visitor: MakeVisitor, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aperag_api.identity.oauth import discovery

    assert (await sign_in(browser)).status_code == 204
    issuer.rotate()
    again = await make_visitor()
    assert (await sign_in(again)).status_code == 400  # asked for so often that it is not asked again at once
    monkeypatch.setattr(discovery, "KEYS_AGAIN_SECONDS", 0.0)
    assert (await sign_in(again)).status_code == 204


LOCAL = {"username": "local", "password": PASSWORD, "email": "person@example.org"}


async def test_a_verified_address_leads_to_the_user_who_has_it(
    browser: Visitor, make_visitor: MakeVisitor, engine: AsyncEngine
) -> None:
    local = (await browser.post("/register", json=LOCAL)).json()
    await verify(engine)
    await sign_in(browser)
    assert (await browser.get("/user")).json()["id"] == local["id"]
    assert len(await users(engine)) == 1
    by_password = await make_visitor()
    login = {"username": "local", "password": PASSWORD}
    assert (await by_password.post("/login", json=login)).status_code == 200


async def test_who_registered_with_another_persons_address_does_not_share_their_account(
    browser: Visitor, make_visitor: MakeVisitor, engine: AsyncEngine
) -> None:
    await (await make_visitor()).post("/register", json=LOCAL)
    answer = await browser.get("/auth/acme/callback", params=await sent_back(browser))
    assert (answer.status_code, "nobody has verified" in answer.json()["detail"]) == (403, True)
    assert (await browser.get("/user")).status_code == 401
    assert len(await users(engine)) == 1


async def test_an_address_that_normalising_would_make_anothers_leads_to_nobody(
    browser: Visitor, issuer: Issuer, engine: AsyncEngine
) -> None:
    await browser.post("/register", json=LOCAL)
    await verify(engine)
    issuer.claims["email"] = LOCAL["email"].replace("s", "\N{LATIN SMALL LETTER LONG S}", 1)
    await sign_in(browser)
    assert (await browser.get("/user")).json()["email"] is None
    assert len(await users(engine)) == 2


@pytest.mark.parametrize("verified", [False, None, "false", 1, "yes"])
async def test_an_address_that_nobody_verified_leads_to_nobody_elses_user(
    browser: Visitor, issuer: Issuer, engine: AsyncEngine, verified: Any
) -> None:
    local = (await browser.post("/register", json=LOCAL)).json()
    issuer.claims = {**PERSON, "email_verified": verified}
    assert (await sign_in(browser)).status_code == 204
    user = (await browser.get("/user")).json()
    assert user["id"] != local["id"]
    assert (user["email"], user["role"]) == (None, "rw")


async def test_an_address_missing_from_the_id_token_is_asked_for(browser: Visitor, issuer: Issuer) -> None:
    issuer.lies = {"email": None, "email_verified": None}
    assert (await sign_in(browser)).status_code == 204
    assert (await browser.get("/user")).json()["email"] == "person@example.org"
    assert "/userinfo" in issuer.asked


async def test_user_info_of_another_person_proves_nobody(browser: Visitor, issuer: Issuer, engine: AsyncEngine) -> None:
    issuer.lies = {"email": None}
    issuer.told = {**PERSON, "sub": "person-2", "email": "victim@example.org"}
    assert await nobody_came_in(browser, engine, await sign_in(browser))


async def test_names_that_are_taken_or_none_become_names_of_their_own(
    browser: Visitor, make_visitor: MakeVisitor, issuer: Issuer, engine: AsyncEngine
) -> None:
    await browser.post("/register", json={"username": "Person", "password": PASSWORD})
    await sign_in(browser)
    issuer.claims = {"sub": "person-2", "preferred_username": "\u202e\u200b"}
    await sign_in(await make_visitor())
    names = [user.username for user in await users(engine)]
    assert names[0] == "Person"
    assert names[1].startswith("person-")
    assert names[2] == "user"


@pytest.fixture
def by_invitation() -> dict[str, Any]:
    return {"register_mode": RegisterMode.INVITATION}


async def test_where_an_invitation_is_needed_only_the_invited_come_in(
    make_gateway: Callable[..., Awaitable[FastAPI]],
    make_visitor: MakeVisitor,
    by_invitation: dict[str, Any],
    issuer: Issuer,
    engine: AsyncEngine,
) -> None:
    app = await make_gateway(**by_invitation)
    admin, browser = await make_visitor(application=app), await make_visitor(application=app)
    await admin.post("/register", json={"username": "root", "password": PASSWORD})
    await admin.post("/login", json={"username": "root", "password": PASSWORD})
    assert (await sign_in(browser)).status_code == 403
    assert len(await users(engine)) == 1
    await admin.post("/invite", json={"email": "person@example.org", "role": "ro"})
    issuer.claims = {**PERSON, "email_verified": False}
    assert (await sign_in(browser)).status_code == 403
    issuer.claims = dict(PERSON)
    assert (await sign_in(browser)).status_code == 204
    assert (await browser.get("/user")).json()["role"] == "ro"
    assert (await admin.get("/invitations")).json()["items"][0]["is_valid"] is False


async def test_a_user_who_was_deleted_does_not_come_back_by_signing_in(
    browser: Visitor, make_visitor: MakeVisitor, engine: AsyncEngine
) -> None:
    admin = await make_visitor()
    await admin.post("/register", json={"username": "root", "password": PASSWORD})
    await admin.post("/login", json={"username": "root", "password": PASSWORD})
    await sign_in(browser)
    user = (await browser.get("/user")).json()
    assert (await admin.delete(f"/users/{user['id']}")).status_code == 200
    assert (await browser.get("/user")).status_code == 401
    assert (await sign_in(browser)).status_code == 403
    assert (await browser.get("/user")).status_code == 401


async def test_github_proves_by_its_own_answers(browser: Visitor, issuer: Issuer) -> None:
    issuer.claims = {"id": 42, "login": "octo", "email": "unproved@example.org"}
    issuer.emails = [
        {"email": "old@example.org", "verified": True, "primary": False},
        {"email": "octo@example.org", "verified": True, "primary": True},
    ]
    assert (await sign_in(browser, "github")).status_code == 204
    user = (await browser.get("/user")).json()
    assert (user["username"], user["email"], user["registration_source"]) == ("octo", "octo@example.org", "github")


async def test_an_address_that_github_has_not_verified_is_nobodys(browser: Visitor, issuer: Issuer) -> None:
    await browser.post("/register", json=LOCAL)
    issuer.claims = {"id": 42, "login": "octo", "email": "person@example.org"}
    issuer.emails = [{"email": "person@example.org", "verified": False, "primary": True}]
    await sign_in(browser, "github")
    user = (await browser.get("/user")).json()
    assert (user["username"], user["email"]) == ("octo", None)


BROKEN: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://evil.example.org"},
    "no token endpoint": {"token_endpoint": None},
    "an endpoint that is no address": {"authorization_endpoint": "javascript:alert(1)"},
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_provider_that_describes_itself_wrongly_is_not_used(
    browser: Visitor, issuer: Issuer, what: str
) -> None:
    issuer.metadata = BROKEN[what]
    answer = await browser.get("/auth/acme/authorize")
    assert answer.status_code == 502
    assert issuer.url not in answer.text


async def test_requests_to_a_provider_pass_the_guard(
    make_gateway: Callable[..., Awaitable[FastAPI]], make_visitor: MakeVisitor, issuer: Issuer
) -> None:
    browser = await make_visitor(application=await make_gateway(outbound=OutboundSettings()))
    assert (await browser.get("/auth/acme/authorize")).status_code == 502
    assert issuer.asked == []


async def test_a_provider_that_is_away_is_tried_later(
    make_gateway: Callable[..., Awaitable[FastAPI]], make_visitor: MakeVisitor
) -> None:
    gone = ProviderSettings(client_id=CLIENT_ID, issuer="http://127.0.0.1:9")
    app = await make_gateway(oauth=OAuthSettings(providers={"gone": gone}))
    answer = await (await make_visitor(application=app)).get("/auth/gone/authorize")
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_a_provider_that_nobody_set_up_is_not_there(browser: Visitor) -> None:
    for path in ("/auth/nowhere/authorize", "/auth/nowhere/callback?code=c&state=s", "/auth/..%2f/authorize"):
        assert (await browser.get(path)).status_code == 404


async def test_a_browser_that_comes_straight_from_the_provider_lands_on_a_page(browser: Visitor) -> None:
    back = await sent_back(browser)
    answer = await browser.get("/auth/acme/callback", params=back, headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (303, "https://console.example.org/")
    assert urlsplit(answer.headers["location"]).netloc == "console.example.org"
    assert (await browser.get("/user")).status_code == 200


async def test_everybody_is_told_how_to_log_in(browser: Visitor) -> None:
    config = (await browser.get("/config")).json()
    assert config["login_methods"] == ["local", "acme", "github"]
    assert config["providers"] == [{"name": "acme", "label": "Acme"}, {"name": "github", "label": "github"}]
    assert config["auth"] == {"type": "cookie"}
    assert CLIENT_SECRET not in str(config)
