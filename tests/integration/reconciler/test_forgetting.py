"""What is kept for a time only, and what is kept until somebody decides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aperag_common.db.models.base import OPEN_STATUSES, JobStatus
from aperag_common.jobs.kind import JobKind, registered
from aperag_common.objects import LocalObjectStore
from aperag_common.services import Service
from aperag_reconciler.gc.collect import Collect
from aperag_reconciler.settings import RetentionSettings
from aperag_testing.factories import make_collection, make_upload, make_user
from aperag_work import outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aperag_testing.steps import Steps
    from aperag_work.database import Database

DAY = timedelta(days=1)
OLD, YOUNG = timedelta(days=401), timedelta(days=399)
KEPT = timedelta(days=400)

_AGO = "clock_timestamp() - CAST(:age AS interval)"
_LETTER = f"""
    INSERT INTO dead_letter (id, consumer, subject, attempt, code, message, payload, headers, created, redriven_at)
    VALUES (gen_random_uuid(), 'indexer-parse', 's', 1, 'BUSY', :name, '{{}}', '{{}}', {_AGO},
        clock_timestamp() - CAST(:redriven AS interval))
"""
_CHAT = f"""
    INSERT INTO chat (id, owner, bot_id, title, peer_type, updated) VALUES (:name, :owner, 'bot', 't', 'system', {_AGO})
"""
_TURN = f"""
    WITH asked AS (
        INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, credential, created)
        VALUES (:name, :owner, :chat, 'bot', (SELECT count(*) FROM turn), :name, '{{}}', '{{}}', 'why?', 'secret', {_AGO})
        RETURNING id, owner
    )
    INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status)
    SELECT 'job' || id, 'turn', id, owner, 'interactive', 'present', :status FROM asked
"""
_KEY = f"""
    INSERT INTO api_key (id, owner, key_hash, key_mask, is_system, created, deleted_at)
    VALUES (:name, :owner, :name, 'm', false, {_AGO}, clock_timestamp() - CAST(:deleted AS interval))
"""
_SEARCH = f"""
    INSERT INTO search_history (id, owner, collection_id, query, request, items, created)
    VALUES (:name, :owner, :collection, 'q', '{{}}', '{{}}', {_AGO})
"""


@pytest.fixture
def forget(steps: Steps, tmp_path: Path) -> Callable[..., Awaitable[None]]:
    """Twice: a second run has nothing left to do and does no harm."""

    async def run(**ages: Any) -> None:
        collect = Collect(steps.engine, LocalObjectStore(tmp_path), RetentionSettings(**ages))
        for _ in range(2):
            await collect.run()

    return run


@pytest.fixture
async def owner(steps: Steps) -> str:
    """A user with a bot, a chat that was used just now, and a collection."""
    async with steps.engine.begin() as conn:
        user = await make_user(conn)
        await make_collection(conn, owner=user)
    query = "INSERT INTO bot (id, owner, title, description, type, config) VALUES ('bot', :u, 't', '', 'agent', '{}')"
    await steps.change(query, u=user)
    await steps.change(_CHAT, name="used", owner=user, age=timedelta(0))
    return user


async def make(steps: Steps, setting: str, owner: str, name: str, age: timedelta) -> None:
    """A row that is forgotten at this ``age``, once the setting says so."""
    if setting == "open_dead_letter":
        await steps.change(_LETTER, name=name, age=age, redriven=None)
    elif setting == "search_history":
        [collection] = await steps.column("SELECT id FROM collection")
        await steps.change(_SEARCH, name=name, owner=owner, collection=collection, age=age)
    elif setting == "turn":
        await steps.change(_TURN, name=name, owner=owner, chat="used", status="ACTIVE", age=age)
    elif setting == "chat":
        await steps.change(_CHAT, name=name, owner=owner, age=age)
        await steps.change(_TURN, name=name, owner=owner, chat=name, status="ACTIVE", age=age)
    else:
        await steps.change(_KEY, name=name, owner=owner, age=2 * OLD, deleted=age)


NAMES = {
    "open_dead_letter": "SELECT message FROM dead_letter",
    "search_history": "SELECT id FROM search_history",
    "turn": "SELECT id FROM turn",
    "chat": "SELECT id FROM chat WHERE id <> 'used'",
    "api_key": "SELECT id FROM api_key",
}
SETTINGS = pytest.mark.parametrize("setting", NAMES)


@SETTINGS
@pytest.mark.parametrize(("kept", "left"), [(KEPT, {"young"}), (None, {"old", "young"})], ids=["400 days", "for ever"])
async def test_what_is_old_is_forgotten_and_what_is_young_stays(
    steps: Steps, forget: Any, owner: str, setting: str, kept: timedelta | None, left: set[str]
) -> None:
    for name, age in (("old", OLD), ("young", YOUNG)):
        await make(steps, setting, owner, name, age)
    await forget(**{setting: kept})
    assert set(await steps.column(NAMES[setting])) == left
    turns = await steps.column("SELECT id FROM turn")
    assert sorted(await steps.column("SELECT subject_id FROM job")) == sorted(turns), "a turn's job goes with it"


async def test_by_default_no_chat_and_no_answer_is_forgotten(steps: Steps, forget: Any, owner: str) -> None:
    await make(steps, "chat", owner, "old", 20 * KEPT)
    await forget()
    assert await steps.column("SELECT id FROM turn") == ["old"]
    assert sorted(await steps.column("SELECT id FROM chat")) == ["old", "used"]


_EVENT = f"""
    INSERT INTO ingest_event (id, owner, collection_id, source, event_id, type, subject, time, data, status, received)
    VALUES (CAST(:name AS text), :owner, 'col1', '/wiki', CAST(:name AS text), 't', 's', now(), '{{}}', :status, {_AGO})
"""
_EVENTS_JOB = """
    INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status)
    VALUES ('job' || CAST(:name AS text), 'ingest', CAST(:name AS text), :owner, 'interactive', 'present', 'ACTIVE')
"""


async def test_settled_events_of_other_services_are_known_for_30_days_by_default(
    steps: Steps, forget: Any, owner: str
) -> None:
    rows = (("old", "COMPLETED", 31), ("failed", "FAILED", 31), ("young", "COMPLETED", 29), ("open", "PENDING", 99))
    for name, status, days in rows:
        await steps.change(_EVENT, name=name, owner=owner, status=status, age=timedelta(days=days))
        await steps.change(_EVENTS_JOB, name=name, owner=owner)
    await forget()
    assert sorted(await steps.column("SELECT id FROM ingest_event")) == ["open", "young"]
    assert sorted(await steps.column("SELECT subject_id FROM job")) == ["open", "young"], "an event's job goes with it"


async def test_content_that_an_event_brought_is_no_garbage_until_it_is_carried_out(
    steps: Steps, forget: Any, owner: str, tmp_path: Path
) -> None:
    for name, status in (("one", "PENDING"), ("two", "FAILED"), ("three", "COMPLETED")):
        await steps.change(_EVENT, name=name, owner=owner, status=status, age=timedelta(0))
        await steps.change("UPDATE ingest_event SET new_document_id = :id WHERE id = :name", id=f"doc{name}", name=name)
        folder = tmp_path / f"user-{owner}" / "col1" / f"doc{name}"
        folder.mkdir(parents=True)
        (folder / "original.md").write_text("x")
    await forget(orphan_object=timedelta(0))
    assert sorted(path.name for path in (tmp_path / f"user-{owner}" / "col1").iterdir()) == ["docone", "doctwo"]


async def test_a_key_that_works_is_not_forgotten(steps: Steps, forget: Any, owner: str) -> None:
    await steps.change(_KEY, name="works", owner=owner, age=OLD, deleted=None)
    await forget(api_key=DAY)
    assert await steps.column("SELECT id FROM api_key") == ["works"]


@pytest.mark.parametrize("status", ["PENDING", "CREATING"])
async def test_a_question_that_is_still_open_is_not_forgotten_nor_its_chat(
    steps: Steps, forget: Any, owner: str, status: str
) -> None:
    await steps.change(_CHAT, name="asked", owner=owner, age=OLD)
    await steps.change(_TURN, name="turn", owner=owner, chat="asked", status=status, age=OLD)
    await forget(turn=DAY, chat=DAY)
    assert await steps.column("SELECT id FROM turn") == ["turn"]
    await steps.change("UPDATE job SET status = 'FAILED'")
    await forget(turn=DAY, chat=DAY)
    assert await steps.column("SELECT id FROM chat") == ["used"]
    assert await steps.column("SELECT id FROM job") == []


async def test_a_chat_with_files_is_left_to_whoever_deletes_it(steps: Steps, forget: Any, owner: str) -> None:
    await steps.change(_CHAT, name="files", owner=owner, age=OLD)
    [collection] = await steps.column("SELECT id FROM collection")
    change = await steps.upload(collection_id=collection)
    await steps.change("UPDATE document SET chat_id = 'files' WHERE id = :id", id=change.document_id)
    await forget(chat=DAY)
    assert sorted(await steps.column("SELECT id FROM chat")) == ["files", "used"]


async def test_an_event_is_kept_as_long_after_its_relay_as_the_stream_keeps_it_and_for_ever_before(
    steps: Steps, forget: Any, job_database: Database
) -> None:
    """NATS may have been away for longer than events are kept."""
    async with steps.engine.begin() as conn:
        collection = await make_collection(conn)
        made = [(await make_upload(conn, collection_id=collection)).events[0].id for _ in range(3)]
    unrelayed, lately, long_ago = made
    async with job_database.durable.acquire() as conn:
        await outbox.mark_relayed(conn, [lately, long_ago], 1)
    await steps.change("UPDATE outbox SET created = created - interval '30 days'")
    await steps.change("UPDATE outbox SET relayed = relayed - interval '6 days' WHERE id = :id", id=lately)
    await steps.change("UPDATE outbox SET relayed = relayed - interval '8 days' WHERE id = :id", id=long_ago)
    await forget()
    assert {str(it) for it in await steps.column("SELECT id FROM outbox")} == {unrelayed, lately}


async def test_an_event_that_is_relayed_again_is_kept_from_then_on(
    steps: Steps, forget: Any, job_database: Database
) -> None:
    """As after a wipe: the new stream keeps it as long as any other."""
    event = (await steps.upload()).events[0].id
    for epoch in (1, 2):
        await steps.change(
            "UPDATE outbox SET created = created - interval '8 days', relayed = relayed - interval '8 days'"
        )
        async with job_database.durable.acquire() as conn:
            await outbox.mark_relayed(conn, [event], epoch)
    await forget()
    assert [str(it) for it in await steps.column("SELECT id FROM outbox")] == [event]


async def test_of_a_kind_that_is_kept_for_a_time_only_settled_jobs_are_forgotten(steps: Steps, forget: Any) -> None:
    job = """
        INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status, settled_at)
        VALUES (:id, :kind, :id, 'u', 'bulk', 'present', :status, clock_timestamp() - CAST(:age AS interval))
    """
    once = JobKind("tests.once", Service.RECONCILER, "tests", retention=DAY)
    kept = JobKind("tests.kept", Service.RECONCILER, "tests")
    with registered(once, kept):
        for status in JobStatus:
            await steps.change(job, id=f"old {status}"[:24], kind=once.name, status=status, age=2 * DAY)
        await steps.change(job, id="young", kind=once.name, status="ACTIVE", age=DAY / 2)
        await steps.change(job, id="kept", kind=kept.name, status="ACTIVE", age=OLD)
        await forget()
    assert set(await steps.column("SELECT status FROM job WHERE id LIKE 'old%'")) == set(OPEN_STATUSES)
    assert await steps.column("SELECT id FROM job WHERE id NOT LIKE 'old%' ORDER BY id") == ["kept", "young"]


async def test_letters_that_were_requeued_long_ago_are_forgotten_before_those_that_nobody_requeued(
    steps: Steps, forget: Any
) -> None:
    half, month = timedelta(days=180), timedelta(days=30)
    for name, age, redriven in (("open", half, None), ("lately", half, month), ("long ago", half, half)):
        await steps.change(_LETTER, name=name, age=age, redriven=redriven)
    await forget()
    assert await steps.column("SELECT message FROM dead_letter ORDER BY message") == ["lately", "open"]


async def test_the_audit_log_is_kept_for_its_time_and_no_longer(steps: Steps, forget: Any) -> None:
    query = f"""
        INSERT INTO audit_log (id, api_name, http_method, path, start_time, request_id, created)
        SELECT :name || n, 'login', 'POST', '/api/v1/login', 0, '', {_AGO} FROM generate_series(1, 3) AS n
    """
    for name, days in {"now": 0, "lately": 89, "long ago": 91}.items():
        await steps.change(query, name=name, age=timedelta(days=days))
    await forget()
    assert await steps.column("SELECT DISTINCT rtrim(id, '123') FROM audit_log ORDER BY 1") == ["lately", "now"]


_ENDPOINT = (
    "INSERT INTO webhook_endpoint (id, owner, url, types, secret) VALUES ('wh', :owner, 'https://a.example', '{}', 's')"
)
_DELIVERY = f"""
    WITH made AS (
        INSERT INTO webhook_delivery (id, endpoint_id, owner, event_id, event_type, payload, created)
        VALUES (:name, 'wh', :owner, 'e', 'document.indexed', '{{}}', {_AGO}) RETURNING id, owner
    )
    INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status)
    SELECT 'job' || id, 'webhook.deliver', id, owner, 'bulk', 'present', :status FROM made
"""


async def test_old_deliveries_are_forgotten_with_their_jobs_unless_they_are_still_tried(
    steps: Steps, forget: Any, owner: str
) -> None:
    await steps.change(_ENDPOINT, owner=owner)
    for name, age, status in (
        ("old", OLD, "ACTIVE"),
        ("given up", OLD, "FAILED"),
        ("tried", OLD, "PENDING"),
        ("young", YOUNG, "ACTIVE"),
    ):
        await steps.change(_DELIVERY, name=name, owner=owner, age=age, status=status)
    await forget(webhook_delivery=KEPT)
    assert sorted(await steps.column("SELECT id FROM webhook_delivery")) == ["tried", "young"]
    assert sorted(await steps.column("SELECT subject_id FROM job")) == ["tried", "young"]


def test_deliveries_are_known_as_long_as_their_events_may_come_again() -> None:
    with pytest.raises(ValueError, match="delivered twice"):
        RetentionSettings(webhook_delivery=timedelta(days=6))
    assert RetentionSettings(webhook_delivery=timedelta(days=7)).webhook_delivery == timedelta(days=7)
