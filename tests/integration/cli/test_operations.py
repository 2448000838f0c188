"""What an operator sees of a real stack: timelines, queues, workers, and metrics of every process."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aperag_cli.exits import Exit
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Aperag

pytestmark = pytest.mark.timeout(240)

WORKERS = {
    "agent": {"agent-turn"},
    "indexer": {"indexer-parse", "indexer-vector", "indexer-fulltext", "indexer-remove", "indexer-summarize"},
}


@pytest.fixture
def uploaded(aperag: Aperag, collection: str, folder: Path) -> dict[str, Any]:
    return dict(aperag.json("documents", "upload", collection, str(folder / "tea.md"), "--wait"))


@pytest.mark.usefixtures("uploaded")
def test_a_timeline_is_told_to_people_and_to_programs(aperag: Aperag, collection: str) -> None:
    told = aperag.json("documents", "timeline", collection, "tea.md")
    assert {(it["kind"], it["reason"]) for it in told["stages"]} == {
        ("parse", "done"),
        ("vector", "done"),
        ("fulltext", "done"),
    }
    assert all(it["worker"] == "indexer" for it in told["stages"])
    shown = aperag("documents", "timeline", collection, "tea.md")
    assert shown.exit_code == Exit.OK, shown.output
    assert "searchable since" in shown.stdout
    assert "build vector" in shown.stdout
    assert told["tasks"][0]["id"] in shown.stdout


@pytest.mark.usefixtures("uploaded")
def test_following_a_settled_document_ends_with_one_line(aperag: Aperag, collection: str) -> None:
    followed = aperag("documents", "timeline", collection, "tea.md", "--follow", "-o", "json")
    assert followed.exit_code == Exit.OK, followed.output
    [line] = followed.stdout.splitlines()
    assert json.loads(line)["settled"] is True


def test_following_a_document_that_cannot_be_read_ends_with_its_failure(
    aperag: Aperag, collection: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    aperag("documents", "upload", collection, str(tmp_path / "empty.txt"))
    followed = aperag("documents", "timeline", collection, "empty.txt", "--follow")
    assert followed.exit_code == Exit.FAILED
    assert "parsing failed: EMPTY_DOCUMENT" in followed.stdout
    told = aperag.json("documents", "timeline", collection, "empty.txt")
    assert len(told["dead_letters"]) == 1  # the stack's own key is an administrator's
    shown = aperag("documents", "timeline", collection, "empty.txt").stdout
    assert "attempts that failed" in shown
    assert told["dead_letters"][0] in shown


def test_an_unknown_document_has_no_timeline(aperag: Aperag, collection: str) -> None:
    ended = aperag("documents", "timeline", collection, "doc0123456789abcdef")
    assert (ended.exit_code, "not found" in ended.stderr) == (Exit.NOT_FOUND, True)


def test_queues_show_every_consumer_and_every_process(aperag: Aperag) -> None:
    async def all_seen() -> bool:
        workers = (await asyncio.to_thread(aperag.json, "queues"))["workers"]
        return {it["service"] for it in workers if it["alive"]} == {"agent", "api", "indexer", "reconciler"}

    asyncio.run(until(all_seen))
    told = aperag.json("queues")
    served = {it["service"]: {load["name"] for load in it["consumers"]} for it in told["workers"]}
    assert {service: served[service] for service in WORKERS} == WORKERS
    shown = aperag("queues")
    assert shown.exit_code == Exit.OK, shown.output
    assert all(it["name"] in shown.stdout for it in told["consumers"])
    assert "APERAG_COMMANDS" in shown.stdout
    assert told["nats"] is None


async def test_watching_queues_goes_on_until_it_is_stopped(aperag: Aperag) -> None:
    async with aperag.started("queues", "--watch", "-o", "json") as child:
        assert child.stdout is not None
        async with asyncio.timeout(60):
            for _ in range(2):
                assert json.loads(await child.stdout.readline())["consumers"]
        assert child.returncode is None


def test_status_and_doctor_say_where_to_look(aperag: Aperag) -> None:
    assert "aperag queues" in aperag("status").stdout
    [work] = [it for it in aperag.json("doctor", code=0)["findings"] if it["subject"] == "work"]
    assert "tasks open" in work["seen"]


EXPECTED = {
    "agent": {"aperag_ready", "aperag_check_ok", "aperag_worker_slots"},
    "api": {"aperag_publishes_total", "aperag_ready", "aperag_check_ok", "aperag_relay_latency_seconds_count"},
    "indexer": {
        "aperag_ready",
        "aperag_attempts_total",
        "aperag_attempt_duration_seconds_count",
        "aperag_delivery_lag_seconds_count",
        "aperag_worker_slots",
        "aperag_worker_busy_slots",
        "aperag_upload_to_searchable_seconds_count",
        "aperag_publishes_total",
    },
    "reconciler": {
        "aperag_ready",
        "aperag_attempts_total",
        "aperag_consumer_pending_messages",
        "aperag_consumer_ack_pending_messages",
        "aperag_service_instances",
        "aperag_stream_bytes",
        "aperag_stream_max_bytes",
        "aperag_oldest_due_age_seconds",
        "aperag_timer_lateness_seconds",
    },
}


def scraped(aperag: Aperag, name: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample that a process shows, by name and label values."""
    port = aperag.stack.unit(name)["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {(it.name, tuple(it.labels.values())): it.value for family in families for it in family.samples}


@pytest.mark.usefixtures("uploaded")
def test_every_process_shows_its_own_metrics(aperag: Aperag) -> None:
    for name, wanted in EXPECTED.items():

        async def complete(name: str = name, wanted: set[str] = wanted) -> bool:
            return wanted <= {found for found, _ in await asyncio.to_thread(scraped, aperag, name)}

        asyncio.run(until(complete))
        assert scraped(aperag, name)["aperag_ready", ()] == 1


def test_the_reconciler_counts_the_processes_there_are(aperag: Aperag) -> None:
    async def counted() -> bool:
        found = await asyncio.to_thread(scraped, aperag, "reconciler")
        return all(
            found["aperag_service_instances", (service,)] == 1 for service in ("agent", "api", "indexer", "reconciler")
        )

    asyncio.run(until(counted))


@pytest.mark.usefixtures("uploaded")
def test_searchable_documents_are_timed(aperag: Aperag) -> None:
    assert scraped(aperag, "indexer")["aperag_upload_to_searchable_seconds_count", ()] >= 1
