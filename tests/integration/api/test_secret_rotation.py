"""Stored secrets: encrypted, masked, and readable through every rotation of the installation's secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from aperag_api.identity.apikeys.keys import KeyHasher
from aperag_api.secrets import repository
from aperag_api.secrets.rotation import Count, rotate
from aperag_common.auth.encrypted import (
    COLLECTION_CREDENTIALS,
    INVITATION_TOKEN,
    PROVIDER_KEY,
    SETTING_VALUE,
    WEBHOOK_PREVIOUS_SECRET,
    WEBHOOK_SECRET,
)
from aperag_common.auth.vault import Vault, VaultError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from tests.integration.api.conftest import Person

SECRET = "integration-tests-only"
OLD, NEW, STRANGE = SecretStr(SECRET), SecretStr("the-next-of-integration-tests"), SecretStr("nobody-knows-this-one")
ROTATING = Vault.of(NEW, [OLD])
ROTATED = {"secret_key": NEW, "secret_key_previous": (OLD,)}
ROWS = 5


async def fill(engine: AsyncEngine, owner: str, vault: Vault) -> None:
    """``ROWS`` rows in each place, among them some that are not encrypted."""
    async with engine.begin() as conn:
        await conn.execute(text("INSERT INTO setting (name, value, encrypted) VALUES ('plain', 'true', false)"))
        for number in range(ROWS):
            await add_setting(conn, f"secret{number}", f'"geheim{number}"', vault)
            await _add_collection(conn, owner, f"col{number}", vault)
            await _add_invitation(conn, owner, f"inv{number}", vault)
            await _add_provider(conn, owner, f"provider{number}", vault)
            await _add_webhook(conn, owner, f"wh{number}", vault)
        await _add_collection(conn, owner, "colplain", None)


async def add_setting(conn: AsyncConnection, name: str, value: str, vault: Vault) -> None:
    await conn.execute(
        text("INSERT INTO setting (name, value, encrypted) VALUES (:name, :value, true)"),
        {"name": name, "value": vault.encrypt(value, context=SETTING_VALUE.context(name))},
    )


async def _add_collection(conn: AsyncConnection, owner: str, collection_id: str, vault: Vault | None) -> None:
    config: dict[str, Any] = {"source": "system", "username": "anna"}
    if vault is not None:
        fields = ("password", "app_secret")
        config["credentials"] = {
            field: vault.encrypt(field, context=COLLECTION_CREDENTIALS.context(collection_id, field))
            for field in fields
        }
    await conn.execute(
        text(
            """
            INSERT INTO collection (id, owner, title, description, type, status, config, analyzer, active_model)
            VALUES (:id, :owner, 'Tea', '', 'document', 'ACTIVE', CAST(:config AS jsonb), 'a', 'm')
            """
        ),
        {"id": collection_id, "owner": owner, "config": json.dumps(config)},
    )


async def _add_invitation(conn: AsyncConnection, owner: str, invitation_id: str, vault: Vault) -> None:
    token = vault.encrypt(invitation_id, context=INVITATION_TOKEN.context(invitation_id))
    await conn.execute(
        text(
            """
            INSERT INTO invitation (id, email, role, token, token_hash, created_by, expires_at)
            VALUES (:id, :id, 'rw', :token, :id, :owner, now() + interval '1 day')
            """
        ),
        {"id": invitation_id, "token": token, "owner": owner},
    )


async def _add_provider(conn: AsyncConnection, owner: str, name: str, vault: Vault) -> None:
    await conn.execute(
        text(
            """
            INSERT INTO llm_provider (name, user_id, label, completion_dialect, embedding_dialect, rerank_dialect,
                allow_custom_base_url, base_url, api_key)
            VALUES (:name, :owner, :name, 'openai', 'openai', 'jina_ai', false, 'https://models.example.org', :key)
            """
        ),
        {"name": name, "owner": owner, "key": vault.encrypt(name, context=PROVIDER_KEY.context(name))},
    )


async def _add_webhook(conn: AsyncConnection, owner: str, webhook_id: str, vault: Vault) -> None:
    insert = """
        INSERT INTO webhook_endpoint (id, owner, url, types, secret, previous_secret)
        VALUES (:id, :owner, 'https://hooks.example.org', '{}', :secret, :previous)
    """
    tokens = {
        "secret": vault.encrypt(webhook_id, context=WEBHOOK_SECRET.context(webhook_id)),
        "previous": vault.encrypt(webhook_id, context=WEBHOOK_PREVIOUS_SECRET.context(webhook_id)),
    }
    await conn.execute(text(insert), {"id": webhook_id, "owner": owner, **tokens})


async def opened(engine: AsyncEngine, vault: Vault) -> dict[str, str]:
    """Everything that is encrypted, by its context; raises ``VaultError`` where ``vault`` cannot read it."""
    found: dict[str, str] = {}
    async with engine.connect() as conn:
        for row in await conn.execute(text("SELECT name, value FROM setting WHERE encrypted")):
            found[SETTING_VALUE.context(row.name)] = row.value
        for row in await conn.execute(text("SELECT id, token FROM invitation")):
            found[INVITATION_TOKEN.context(row.id)] = row.token
        for row in await conn.execute(text("SELECT name, api_key FROM llm_provider WHERE api_key IS NOT NULL")):
            found[PROVIDER_KEY.context(row.name)] = row.api_key
        for row in await conn.execute(text("SELECT id, secret, previous_secret FROM webhook_endpoint")):
            found[WEBHOOK_SECRET.context(row.id)] = row.secret
            found[WEBHOOK_PREVIOUS_SECRET.context(row.id)] = row.previous_secret
        for row in await conn.execute(text("SELECT id, config FROM collection WHERE config ? 'credentials'")):
            for field, token in row.config["credentials"].items():
                found[COLLECTION_CREDENTIALS.context(row.id, field)] = token
    return {context: vault.decrypt(token, context=context) for context, token in found.items()}


def rotated(counts: Mapping[str, Count]) -> dict[str, int]:
    assert not any(count.unreadable for count in counts.values())
    return {place: count.rotated for place, count in counts.items()}


@pytest.mark.parametrize("batch", [1, 2, 100])
async def test_a_rotation_leaves_everything_readable_under_the_new_secret_alone(
    engine: AsyncEngine, alice: Person, batch: int
) -> None:
    await fill(engine, alice.id, Vault.of(OLD))
    before = await opened(engine, Vault.of(OLD))
    counts = await rotate(engine, ROTATING, ROTATING, batch=batch)
    assert rotated(counts) == {
        "invitation.token": ROWS,
        "setting.value": ROWS,
        "collection.config": 2 * ROWS,
        "llm_provider.api_key": ROWS,
        "webhook_endpoint.secret": ROWS,
        "webhook_endpoint.previous_secret": ROWS,
    }
    assert await opened(engine, Vault.of(NEW)) == before
    assert len(before) == 7 * ROWS
    assert set(rotated(await rotate(engine, ROTATING, ROTATING, batch=batch)).values()) == {0}


async def test_a_rotation_changes_nothing_else(engine: AsyncEngine, alice: Person) -> None:
    await fill(engine, alice.id, Vault.of(OLD))
    look = text(
        """
        SELECT jsonb_agg(to_jsonb(c) #- '{config,credentials}' ORDER BY id) AS collections,
            (SELECT jsonb_agg(to_jsonb(s) ORDER BY name) FROM setting s WHERE NOT encrypted) AS settings,
            (SELECT jsonb_agg(to_jsonb(i) - 'token' ORDER BY id) FROM invitation i) AS invitations
        FROM collection c
        """
    )
    async with engine.connect() as conn:
        before = (await conn.execute(look)).one()
    await rotate(engine, ROTATING, ROTATING)
    async with engine.connect() as conn:
        assert (await conn.execute(look)).one() == before


async def test_an_interrupted_rotation_goes_on_where_it_was(
    engine: AsyncEngine, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(engine, alice.id, Vault.of(OLD))
    before = await opened(engine, Vault.of(OLD))
    left = 8
    replace = repository.replace

    async def crash(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        await replace(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(repository, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            await rotate(engine, ROTATING, ROTATING, batch=2)
    assert await opened(engine, ROTATING) == before
    counts = rotated(await rotate(engine, ROTATING, ROTATING, batch=2))
    # Five invitations and two settings were committed; the eighth row went back with its batch.
    assert counts == {
        "invitation.token": 0,
        "setting.value": ROWS - 2,
        "collection.config": 2 * ROWS,
        "llm_provider.api_key": ROWS,
        "webhook_endpoint.secret": ROWS,
        "webhook_endpoint.previous_secret": ROWS,
    }
    assert await opened(engine, Vault.of(NEW)) == before


async def test_keys_of_providers_are_under_a_secret_of_their_own(engine: AsyncEngine, alice: Person) -> None:
    of_providers = Vault.of(SecretStr("of-providers"), [OLD])
    await fill(engine, alice.id, Vault.of(OLD))
    await rotate(engine, ROTATING, of_providers)
    async with engine.connect() as conn:
        keys = {row.name: row.api_key for row in await conn.execute(text("SELECT name, api_key FROM llm_provider"))}
        token = (await conn.execute(text("SELECT token FROM invitation WHERE id = 'inv0'"))).scalar_one()
    context = PROVIDER_KEY.context("provider0")
    assert Vault.of(SecretStr("of-providers")).decrypt(keys["provider0"], context=context) == "provider0"
    with pytest.raises(VaultError):
        ROTATING.decrypt(keys["provider0"], context=context)
    assert Vault.of(NEW).decrypt(token, context=INVITATION_TOKEN.context("inv0")) == "inv0"


async def test_what_nobody_can_read_stays_and_stops_nothing(engine: AsyncEngine, alice: Person) -> None:
    async with engine.begin() as conn:
        await add_setting(conn, "strange", "x", Vault.of(STRANGE))
        await add_setting(conn, "tampered", "x", Vault.of(OLD))
        await conn.execute(text("UPDATE setting SET value = value || 'AAAA' WHERE name = 'tampered'"))
        await add_setting(conn, "well", "y", Vault.of(OLD))
    counts = await rotate(engine, ROTATING, ROTATING, batch=1)
    assert counts["setting.value"] == Count(rotated=1, unreadable=2)
    async with engine.connect() as conn:
        strange = (await conn.execute(text("SELECT value FROM setting WHERE name = 'strange'"))).scalar_one()
    assert Vault.of(STRANGE).decrypt(strange, context=SETTING_VALUE.context("strange")) == "x"


async def config_of(engine: AsyncEngine, collection_id: str) -> dict[str, Any]:
    async with engine.connect() as conn:
        found = await conn.execute(text("SELECT config FROM collection WHERE id = :id"), {"id": collection_id})
        return dict(found.scalar_one())


async def test_source_credentials_are_masked_in_every_answer_and_kept_by_a_change(
    engine: AsyncEngine, alice: Person
) -> None:
    collection = await alice.collection(username="anna", password="geheim-1", app_secret="geheim-2")
    answers = [await alice.http.get(f"/collections/{collection}")]
    assert answers[0].json()["config"]["password"] == "****"
    assert answers[0].json()["config"]["email_password"] is None
    sent_back = {"title": "Tea", "description": "", "config": answers[0].json()["config"]}
    answers.append(await alice.http.put(f"/collections/{collection}", json=sent_back))
    sent_back["config"] = {"source": "system", "password": "geheim-3", "app_secret": ""}
    answers.append(await alice.http.put(f"/collections/{collection}", json=sent_back))
    assert answers[2].json()["config"]["app_secret"] is None
    stored = (await config_of(engine, collection))["credentials"]
    context = COLLECTION_CREDENTIALS.context(collection, "password")
    assert stored.keys() == {"password"}
    assert Vault.of(OLD).decrypt(stored["password"], context=context) == "geheim-3"
    answers.append(await alice.http.get("/collections"))
    answers.append(await alice.http.delete(f"/collections/{collection}"))
    assert all(answer.status_code == 200 for answer in answers)
    assert not [answer.text for answer in answers if "geheim" in answer.text or "v1." in answer.text]
    assert "geheim" not in json.dumps(await config_of(engine, collection))


@pytest.mark.parametrize("settings", [ROTATED], indirect=True)
async def test_a_key_from_before_a_rotation_is_hashed_anew_by_its_first_use(engine: AsyncEngine, alice: Person) -> None:
    assert await hash_of(engine, alice.id) == KeyHasher.of(OLD).hash(alice.key)
    assert (await alice.http.get("/apikeys")).status_code == 200
    assert await hash_of(engine, alice.id) == KeyHasher.of(NEW).hash(alice.key)
    assert (await alice.http.get("/apikeys")).status_code == 200


async def test_a_key_of_the_first_release_still_opens_the_door(engine: AsyncEngine, alice: Person) -> None:
    *_, raw = KeyHasher.of(OLD).candidates(alice.key)
    async with engine.begin() as conn:
        await conn.execute(
            text("UPDATE api_key SET key_hash = :hash, last_used_at = now() WHERE owner = :owner"),
            {"hash": raw, "owner": alice.id},
        )
    assert (await alice.http.get("/apikeys")).status_code == 200
    assert await hash_of(engine, alice.id) == KeyHasher.of(OLD).hash(alice.key)


@pytest.mark.parametrize("settings", [{"secret_key": NEW}], indirect=True)
async def test_without_the_earlier_secret_its_keys_are_strangers(alice: Person) -> None:
    assert (await alice.http.get("/apikeys")).status_code == 401


async def hash_of(engine: AsyncEngine, owner: str) -> str:
    async with engine.connect() as conn:
        found = await conn.execute(text("SELECT key_hash FROM api_key WHERE owner = :owner"), {"owner": owner})
        return str(found.scalar_one())
