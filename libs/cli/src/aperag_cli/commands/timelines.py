"""``aperag documents timeline``: where a document is, since when, and why it waits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from aperag_cli.arguments import Collection, Document
from aperag_cli.client.errors import NotFound
from aperag_cli.client.operations import timeline as read
from aperag_cli.client.patience import Patience
from aperag_cli.exits import Exit
from aperag_cli.output import plain, table
from aperag_cli.remote import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from aperag_cli.client.http import Http

FOLLOW_SECONDS = 1.0
SUMMARIES = 10
OPEN = {"PENDING", "RUNNING"}
STAGES = ("stage", "state", "reason", "started", "seconds", "attempt", "failures", "worker", "next_try")
ATTEMPTS = ("stage", "attempt", "worker", "ended", "code", "message", "next_try_at")
TASKS = ("id", "kind", "status", "created", "finished", "trace_id")
TOLD = ("kind", "state", "reason", "attempt", "failures", "generation", "worker", "turn")
"""What of a stage is news: not how long it has taken by now."""


async def timeline(
    session: Session,
    collection: Collection,
    document: Document,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print each change until the document or task has ended.")
    ] = False,
) -> None:
    """Show where a document is, since when, and why it waits.

    With --follow, json prints one object per line, and the exit code is 1 where a stage failed.
    """
    collection_id = await session.api.collection_id(collection)
    document_id = await session.api.document_id(collection_id, document)
    if follow:
        await _follow(session, collection_id, document_id)
        return
    found = await read(session.api.http, collection_id, document_id)
    session.printer.whole(found, lambda: _shown(found))


async def with_summaries(http: Http, collection_id: str, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents as they are, the first few open ones with ``why``: each costs a request."""
    asked = [it["id"] for it in documents if it["status"] in OPEN][:SUMMARIES]
    why: dict[str, str] = {}
    for id_ in asked:
        with contextlib.suppress(NotFound):  # deleted since it was listed
            why[id_] = (await read(http, collection_id, id_))["summary"]
    return [{**it, "why": why[it["id"]]} if it["id"] in why else dict(it) for it in documents]


async def _follow(session: Session, collection_id: str, document_id: str) -> None:
    known: object = None
    while True:
        found = await Patience().get(lambda: read(session.api.http, collection_id, document_id), told=session.note_loss)
        news = [[stage.get(name) for name in TOLD] for stage in found["stages"]]
        if news != known:
            known = news
            session.printer.line(found, plain(f"{found['read_at'][11:19]}  {found['summary']}"))
        if found["settled"]:
            break
        await asyncio.sleep(FOLLOW_SECONDS)
    if any(stage["state"] == "FAILED" for stage in found["stages"]):
        raise typer.Exit(Exit.FAILED)


def _shown(found: dict[str, Any]) -> RenderableType:
    return Group(*_parts(found))


def _parts(found: dict[str, Any]) -> Iterator[RenderableType]:
    yield plain(f"{found['name']} ({found['document_id']}): {found['summary']}")
    stages = found["stages"]
    if stages:
        yield table([_row(stage) for stage in stages], STAGES)
        yield from (plain(f"{_name(stage)}: {stage['why']}") for stage in stages)
    attempts = [{**it, "stage": _name(stage)} for stage in stages for it in stage["failed_attempts"]]
    if attempts:
        yield table(attempts, ATTEMPTS, title="attempts that failed")
    if found["tasks"]:
        yield table([{**it, "created": _time(it["created"]), "finished": _time(it["finished"])} for it in found["tasks"]],
                    TASKS, title=f"tasks; traces are read at {found['traces']}")  # fmt: skip
    if found["dead_letters"]:
        yield plain(f"dead letters: {', '.join(found['dead_letters'])}")


def _row(stage: dict[str, Any]) -> dict[str, Any]:
    return {
        **stage,
        "stage": _name(stage),
        "started": _time(stage["started"]),
        "attempt": f"{stage['attempt']} of {stage['max_attempts']}",
        "failures": f"{stage['failures']} of {stage['max_failures']}",
        "next_try": _time(stage["next_try_at"]),
    }


def _name(stage: dict[str, Any]) -> str:
    return "parse" if stage["action"] == "parse" else f"{stage['action']} {stage['kind']}"


def _time(value: str | None) -> str:
    """To the second, in UTC as the gateway tells it."""
    return "" if value is None else value[:19].replace("T", " ")
