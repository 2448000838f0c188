"""``aperag queues``: consumers, workers, and what they work on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.filesize import decimal
from rich.live import Live

from aperag_cli.client.operations import queues as read
from aperag_cli.client.patience import Patience
from aperag_cli.output import Output, plain, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

WATCH_SECONDS = 2.0
CONSUMERS = (
    "consumer", "ready", "unacked", "redelivered", "waiting", "blocked", "queued", "running", "retrying", "lost",
    "failed", "oldest", "done/min", "failed/min", "p50/p95", "busy",
)  # fmt: skip
RUNNING = ("consumer", "worker", "document", "document_id", "attempt", "for")
WORKERS = ("process", "version", "seen", "started", "busy")
STREAMS = ("stream", "messages", "bytes", "of")


@remote
async def queues(
    session: Session,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Refresh every two seconds, until Ctrl-C (exit code 130).")
    ] = False,
) -> None:
    """Show queues, workers and running jobs. For administrators.

    With --watch, `-o json` prints one object per line.
    """
    found = await read(session.api.http)
    if not watch:
        session.printer.whole(found, lambda: _shown(found))
        return
    with Live(console=session.printer.out, auto_refresh=False) as live:
        while True:
            if session.printer.output is Output.JSON:
                session.printer.line(found, "")
            else:
                live.update(_shown(found), refresh=True)
            await asyncio.sleep(WATCH_SECONDS)
            found = await Patience().get(lambda: read(session.api.http), told=session.note_loss)


def _shown(found: dict[str, Any]) -> RenderableType:
    return Group(*_parts(found))


def _parts(found: dict[str, Any]) -> Iterator[RenderableType]:
    if found["nats"]:
        yield plain(found["nats"])
    yield table([_consumer(it) for it in found["consumers"]], CONSUMERS)
    if found["running"]:
        yield table([_running(it) for it in found["running"]], RUNNING, title="at work, the longest first")
    yield table([_worker(it) for it in found["workers"]], WORKERS, title="processes")
    if found["streams"]:
        yield table([_stream(it) for it in found["streams"]], STREAMS)
    tasks = ", ".join(f"{it['tasks']} {it['kind']}" for it in found["tasks"]) or "none"
    yield plain(
        f"open tasks: {tasks}; dead letters not requeued: {found['open_dead_letters']};"
        f" events not relayed: {found['unrelayed_events']}; oldest lost command: {_span(found['oldest_due_seconds'])}"
    )


def _consumer(told: dict[str, Any]) -> dict[str, Any]:
    waiting = " ".join(f"{rows} {lane}" for lane, rows in told["waiting"].items())
    return {
        **{name: "?" if told[name] is None else told[name] for name in ("ready", "unacked", "redelivered")},
        **{name: told[name] or "" for name in ("blocked", "queued", "running", "retrying", "failed")},
        "consumer": told["name"],
        "waiting": waiting,
        "lost": told["worker_lost"] or "",
        "oldest": "" if told["oldest_seconds"] is None else _span(told["oldest_seconds"]),
        "done/min": told["done_per_minute"],
        "failed/min": told["failed_per_minute"],
        "p50/p95": "" if told["p50_seconds"] is None else f"{told['p50_seconds']:.1f}/{told['p95_seconds']:.1f} s",
        "busy": f"{told['busy']} of {told['slots']}" if told["workers"] else "no worker",
    }


def _running(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "document": told["name"] or told["collection_id"] or told["owner"], "for": _span(told["seconds"])}


def _worker(told: dict[str, Any]) -> dict[str, Any]:
    busy = ", ".join(f"{it['name']} {it['busy']} of {it['slots']}" for it in told["consumers"])
    seen = told["seen"][:19].replace("T", " ")
    return {
        "process": f"{told['service']} {told['instance']}",
        "version": told["version"],
        "seen": seen if told["alive"] else f"{seen}, gone",
        "started": told["started"][:19].replace("T", " "),
        "busy": busy,
    }


def _stream(told: dict[str, Any]) -> dict[str, Any]:
    limit = "" if told["max_bytes"] is None else decimal(told["max_bytes"])
    return {"stream": told["name"], "messages": told["messages"], "bytes": decimal(told["bytes"]), "of": limit}


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
