"""How timelines and queues are asked for and shown, against a gateway that answers what a test says."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from rich.console import Console

from aperag_cli.client.api import connect
from aperag_cli.client.http import Target
from aperag_cli.commands import queues, timelines
from aperag_cli.output import Output, Printer
from aperag_cli.remote import Session

if TYPE_CHECKING:
    from collections.abc import Callable

COLLECTION, DOCUMENT = "col0123456789abcdef", "doc0123456789abcdef"


def stage(**values: Any) -> dict[str, Any]:
    usual = {
        "kind": "parse", "action": "parse", "state": "CREATING", "reason": "working", "why": "indexer works on it.",
        "started": "2026-03-01T12:00:00.5Z", "ended": None, "seconds": 1.5, "generation": 1, "attempt": 1,
        "max_attempts": 12, "failures": 0, "max_failures": 4, "worker": "indexer", "next_try_at": None,
        "failed_attempts": [], "turn": None,
    }  # fmt: skip
    return usual | values


def timeline(*stages: dict[str, Any], settled: bool = False, summary: str = "parsing") -> dict[str, Any]:
    return {
        "document_id": DOCUMENT, "collection_id": COLLECTION, "name": "tea.md", "summary": summary, "settled": settled,
        "read_at": "2026-03-01T12:00:02Z", "traces": "/api/v1/traces/{trace_id}", "stages": list(stages),
        "tasks": [{"id": "wf1", "kind": "upload", "status": "RUNNING", "created": "2026-03-01T12:00:00Z",
                   "finished": None, "trace_id": "f" * 32}],
        "dead_letters": None,
    }  # fmt: skip


class Shown:
    """A printer whose output can be read."""

    def __init__(self, output: Output = Output.TABLE) -> None:
        self.file = io.StringIO()
        self.printer = Printer(output, out=Console(file=self.file, width=300), err=Console(file=io.StringIO()))

    @property
    def text(self) -> str:
        return self.file.getvalue()


async def shown(
    answer: Callable[[httpx.Request], httpx.Response], *, follow: bool = False, output: Output = Output.TABLE
) -> str:
    told = Shown(output)
    async with connect(Target("http://gateway", "sk-1"), transport=httpx.MockTransport(answer)) as api:
        await timelines.timeline(Session(api, told.printer), COLLECTION, DOCUMENT, follow=follow)
    return told.text


async def test_a_timeline_shows_stages_reasons_failed_attempts_and_tasks() -> None:
    failed = {"attempt": 1, "worker": "indexer-2", "ended": "2026-03-01T12:00:01Z", "code": "BUSY", "message": "full"}
    answer = timeline(stage(failed_attempts=[failed]), stage(kind="vector", action="build", reason="waits_for_parse"))
    text = await shown(lambda _: httpx.Response(200, json=answer))
    for wanted in ("tea.md", "parsing", "build vector", "waits_for_parse", "1 of 12", "indexer-2", "full", "wf1",
                   "f" * 32, "/api/v1/traces", "indexer works on it."):  # fmt: skip
        assert wanted in text


async def test_following_prints_what_is_new_and_not_what_only_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "FOLLOW_SECONDS", 0.0)
    answers = iter(
        [
            timeline(stage(seconds=1.0), summary="parsing since 1 s"),
            timeline(stage(seconds=2.0), summary="parsing since 2 s"),
            timeline(stage(seconds=3.0, attempt=2), summary="parsing since 3 s, again"),
            timeline(stage(state="ACTIVE", reason="done"), settled=True, summary="searchable"),
        ]
    )
    text = await shown(lambda _: httpx.Response(200, json=next(answers)), follow=True)
    assert text.splitlines() == [
        "12:00:02  parsing since 1 s",
        "12:00:02  parsing since 3 s, again",
        "12:00:02  searchable",
    ]


async def test_following_outlasts_a_gateway_that_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "FOLLOW_SECONDS", 0.0)
    answers = iter([httpx.Response(503, json={"message": "away"}), httpx.Response(200, json=timeline(settled=True))])
    told = await shown(lambda _: next(answers), follow=True, output=Output.JSON)
    assert json.loads(told)["settled"] is True


async def test_only_a_few_open_documents_cost_a_request_each() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        id_ = request.url.path.split("/")[-2]
        asked.append(id_)
        if id_ == "gone":
            return httpx.Response(404, json={"message": "Document gone not found"})
        return httpx.Response(200, json=timeline(summary=f"why {id_}"))

    documents = [{"id": "done", "status": "COMPLETE"}, {"id": "gone", "status": "RUNNING"}]
    documents += [{"id": f"open{n}", "status": "PENDING"} for n in range(50)]
    async with connect(Target("http://gateway", "sk-1"), transport=httpx.MockTransport(answer)) as api:
        told = await timelines.with_summaries(api.http, COLLECTION, documents)
    assert len(asked) == timelines.SUMMARIES
    assert [it["id"] for it in told] == [it["id"] for it in documents]
    assert ("why" in told[0], "why" in told[1], told[2]["why"]) == (False, False, "why open0")


def overview(**values: Any) -> dict[str, Any]:
    consumer = {
        "name": "indexer-parse", "service": "indexer", "stream": "APERAG_COMMANDS", "ready": None, "unacked": None,
        "redelivered": None, "waiting": {"bulk": 4990, "interactive": 1}, "blocked": 0, "queued": 7, "running": 1,
        "retrying": 0, "worker_lost": 0, "failed": 0, "oldest_seconds": 3725.0, "done_per_minute": 12.4,
        "failed_per_minute": 0.0, "p50_seconds": 0.25, "p95_seconds": 12.04, "workers": 0, "slots": 0, "busy": 0,
    }  # fmt: skip
    worker = {
        "service": "indexer", "instance": "indexer-2", "version": "0.1.0", "started": "2026-03-01T11:00:00Z",
        "seen": "2026-03-01T12:00:00Z", "alive": False, "consumers": [{"name": "indexer-parse", "slots": 8, "busy": 3}],
    }  # fmt: skip
    running = {
        "consumer": "indexer-parse", "worker": "indexer-2", "owner": "user1", "collection_id": COLLECTION,
        "document_id": DOCUMENT, "name": "tea.md", "attempt": 1, "since": "2026-03-01T12:00:00Z", "seconds": 65.2,
    }  # fmt: skip
    return {
        "read_at": "2026-03-01T12:00:02Z", "nats": "NATS is not connected", "consumers": [consumer],
        "running": [running], "workers": [worker], "streams": [], "tasks": [{"kind": "upload", "tasks": 4999}],
        "open_dead_letters": 2, "unrelayed_events": 3, "oldest_unrelayed_seconds": 1.0, "oldest_due_seconds": 61.0,
    } | values  # fmt: skip


async def test_queues_show_what_is_known_and_say_what_is_not() -> None:
    told = Shown()
    handler = httpx.MockTransport(lambda _: httpx.Response(200, json=overview()))
    async with connect(Target("http://gateway", "sk-1"), transport=handler) as api:
        told.printer.whole({}, lambda: queues._shown(overview()))
        assert await queues.read(api.http) == overview()
    for wanted in ("NATS is not connected", "4990 bulk 1 interactive", "1:02:05", "no worker", "gone", "tea.md", "1:05",
                   "4999 upload", "not requeued: 2", "0.2/12.0 s", "?"):  # fmt: skip
        assert wanted in told.text
