"""Webhooks over REST: what is refused and why, whose they are, what is never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.webhooks.conftest import LOOPBACK, STATUSES, fact, made

from aperag_common.auth.vault import Vault, VaultError
from aperag_common.outbound.guard import Guard
from aperag_models import keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from tests.integration.api.conftest import Person
    from tests.integration.webhooks.conftest import Events, Receiver, Rows, WebhookProcess

URL = "https://93.184.215.14/hook"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"url": "http://127.0.0.1/hook"}, "not on the public internet"),
        ({"url": "http://localhost/hook"}, "APERAG_OUTBOUND__ALLOW"),
        ({"url": "https://[::1]/hook"}, "not on the public internet"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "not on the public internet"),
        ({"url": "http://2130706433/"}, "unusual spelling"),
        ({"url": "https://93.184.215.14:22/"}, "Port 22"),
        ({"url": "https://user:word@93.184.215.14/"}, "user name or a password"),
        ({"url": "ftp://93.184.215.14/"}, "http or https"),
        ({"url": "hook"}, "http or https"),
        ({"url": "https://no-such-host.invalid/"}, "There is no host"),
        ({"url": URL, "types": ["document.index"]}, "document.index"),
        ({"url": URL, "types": ["*"]}, "no events of the type"),
    ],
)
async def test_what_could_not_work_is_refused_with_the_reason(alice: Person, body: dict[str, Any], why: str) -> None:
    refused = await alice.http.post("/webhooks", json=body)
    assert refused.status_code == 400, refused.text
    assert why in refused.text
    kept = await made(alice, URL)
    changed = await alice.http.put(f"/webhooks/{kept['id']}", json=body)
    assert changed.status_code == 400
    assert why in changed.text


async def test_collections_must_be_ones_own(alice: Person, make_person: Callable[..., Awaitable[Person]]) -> None:
    theirs = await (await make_person()).collection()
    refused = await alice.http.post("/webhooks", json={"url": URL, "collection_ids": [theirs]})
    assert refused.status_code == 404
    assert theirs in refused.text


async def test_a_secret_is_shown_once_and_stands_encrypted(alice: Person, rows: Rows, logged: list[Any]) -> None:
    webhook = await made(alice, URL, description="tea")
    secret = webhook.pop("secret")
    path = f"/webhooks/{webhook['id']}"
    shown = [
        (await alice.http.get("/webhooks")).text,
        (await alice.http.get(path)).text,
        (await alice.http.put(path, json={"url": URL, "description": "tea"})).text,
    ]
    rotated = (await alice.http.post(f"{path}/rotate", headers={"Idempotency-Key": "once"})).json()["secret"]
    again = (await alice.http.post(f"{path}/rotate", headers={"Idempotency-Key": "once"})).json()["secret"]
    shown.append((await alice.http.get(path)).text)
    stored = "".join(str(row) for row in await rows.all("SELECT * FROM webhook_endpoint"))
    kept = str([await rows.all(f"SELECT t::text FROM {table} t") for table in ("audit_log", "idempotency_record")])
    assert "webhook" in kept
    for known in (secret, rotated, again):
        assert known.startswith("whsec_")
        assert not [place for place in (*shown, stored, kept, str(logged)) if known.removeprefix("whsec_") in place]
    assert len({secret, rotated, again}) == 3


async def test_a_secret_is_bound_to_its_row(alice: Person, rows: Rows, settings: Any) -> None:
    first, second = await made(alice, URL), await made(alice, URL)
    [(token,)] = await rows.all("SELECT secret FROM webhook_endpoint WHERE id = :id", id=first["id"])
    vault = Vault.of(keys.provider_secret(settings.secret_key))
    assert vault.decrypt(token, context=f"webhook_endpoint.secret:{first['id']}") == first["secret"]
    with pytest.raises(VaultError):
        vault.decrypt(token, context=f"webhook_endpoint.secret:{second['id']}")


@pytest.mark.parametrize("settings", [{"webhooks": {"most": 2}}], indirect=True)
async def test_there_is_a_limit_to_how_many_a_user_has(alice: Person) -> None:
    for _ in range(2):
        await made(alice, URL)
    refused = await alice.http.post("/webhooks", json={"url": URL})
    assert refused.status_code == 400
    assert "2 webhooks already" in refused.text


async def test_another_users_webhook_is_not_found(
    alice: Person, make_person: Callable[..., Awaitable[Person]], rows: Rows
) -> None:
    webhook = await made(alice, URL)
    delivery = (await alice.http.post(f"/webhooks/{webhook['id']}/test")).json()["delivery_id"]
    before = await rows.all("SELECT e::text, d::text FROM webhook_endpoint e, webhook_delivery d")
    mallory = await make_person()
    own = await made(mallory, URL)
    path = f"/webhooks/{webhook['id']}"
    replay = {"since": "2026-01-01T00:00:00Z"}
    asked = [
        ("GET", path, None),
        ("PUT", path, {"url": URL}),
        ("DELETE", path, None),
        *(("POST", f"{path}/{action}", None) for action in ("rotate", "enable", "disable", "test")),
        ("POST", f"{path}/replay", replay),
        ("GET", f"{path}/deliveries", None),
        ("GET", f"{path}/deliveries/{delivery}", None),
        ("POST", f"{path}/deliveries/{delivery}/redeliver", None),
        # Through a webhook of their own.
        ("GET", f"/webhooks/{own['id']}/deliveries/{delivery}", None),
        ("POST", f"/webhooks/{own['id']}/deliveries/{delivery}/redeliver", None),
    ]
    answers = [(await mallory.http.request(method, url, json=body)).status_code for method, url, body in asked]
    assert answers == [404] * len(asked)
    assert [it["id"] for it in (await mallory.http.get("/webhooks")).json()["items"]] == [own["id"]]
    after = "SELECT e::text, d::text FROM webhook_endpoint e, webhook_delivery d WHERE e.owner = :owner"
    assert await rows.all(after, owner=alice.id) == before


@pytest.mark.parametrize("settings", [LOOPBACK], indirect=True)
async def test_a_replay_brings_what_was_never_sent_and_what_was_once(
    alice: Person, receiver: Receiver, service: WebhookProcess, events: Events, rows: Rows
) -> None:
    before = await events.tell(fact(alice.id), fact(alice.id))
    webhook = await made(alice, receiver.url)
    path = f"/webhooks/{webhook['id']}/replay"
    first = (await alice.http.post(path, json={"since": "2026-01-01T00:00:00Z"})).json()
    assert first == {"deliveries": 2, "added": 2}
    async with service.running():
        await rows.until_all(STATUSES, ["delivered", "delivered"])
    assert {got.event["id"] for got in receiver.got} == set(before)
    later = (await alice.http.post(path, json={"since": "2100-01-01T00:00:00Z"})).json()
    assert later == {"deliveries": 0, "added": 0}
    failed = (await alice.http.post(path, json={"since": "2026-01-01T00:00:00Z", "failed_only": True})).json()
    assert failed == {"deliveries": 0, "added": 0}
    again = (await alice.http.post(path, json={"since": "2026-01-01T00:00:00Z"})).json()
    assert again == {"deliveries": 2, "added": 0}
    assert await rows.all("SELECT generation, dispatch FROM job") == [(2, -1), (2, -1)]


async def test_deliveries_whose_workers_died_are_listed_and_replayed_as_failed(
    alice: Person, events: Events, rows: Rows
) -> None:
    """The engine gives their jobs up and knows nothing of deliveries."""
    await events.tell(fact(alice.id), fact(alice.id))
    webhook = await made(alice, URL)
    path, since = f"/webhooks/{webhook['id']}", "2026-01-01T00:00:00Z"
    await alice.http.post(f"{path}/replay", json={"since": since})
    await rows.change("UPDATE job SET status = 'FAILED' WHERE id = (SELECT min(id) FROM job)")
    for status in ("failed", "pending"):
        listed = (await alice.http.get(f"{path}/deliveries", params={"status": status})).json()
        assert (listed["total"], [it["status"] for it in listed["items"]]) == (1, [status])
    answer = await alice.http.post(f"{path}/replay", json={"since": since, "failed_only": True})
    assert answer.json() == {"deliveries": 1, "added": 0}


async def test_no_transaction_waits_while_an_address_is_looked_up(
    alice: Person, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = await made(alice, URL)
    waiting: list[int] = []

    async def looked_up(*_: Any) -> None:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        waiting.append((await rows.all(count))[0][0])

    monkeypatch.setattr(Guard, "check", looked_up)
    await alice.http.put(f"/webhooks/{webhook['id']}", json={"url": "https://another.example/"})
    await made(alice, "https://third.example/")
    assert waiting == [0, 0]
