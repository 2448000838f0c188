"""``aperag jobs``: work that is under way or failed, and all that matches retried or cancelled at once."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from aperag_cli.arguments import Yes, complete_collections, confirm
from aperag_cli.client import jobs
from aperag_cli.output import plain, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List open and failed jobs; retry or cancel all that match."
)

LISTED = ("kind", "state", "about", "attempt", "since", "task_id", "error_code", "error_message")


class State(StrEnum):
    """Of a job."""

    WAITING = "waiting"
    BLOCKED = "blocked"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    WORKER_LOST = "worker_lost"
    FAILED = "failed"


Kind = Annotated[str | None, typer.Option(help="Kind: parse, vector, fulltext, turn, …", show_default="all")]
InState = Annotated[State | None, typer.Option("--state", help="Only jobs in this state.", show_default="all")]
Code = Annotated[str | None, typer.Option(help="Error code, for example MODEL_FAILED.", show_default=False)]
Owner = Annotated[
    str | None, typer.Option(help="Id of the user who owns them. For administrators.", show_default=False)
]
Everybody = Annotated[bool, typer.Option("--all-owners", help="Jobs of all users. For administrators.")]
All = Annotated[bool, typer.Option("--all", help="All jobs, without a filter.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]
Of = Annotated[
    str | None,
    typer.Option(
        "--collection", help="Id or title of the collection.", autocompletion=complete_collections, show_default=False
    ),
]


@app.command("list")
@remote
async def list_jobs(
    session: Session,
    *,
    kind: Kind = None,
    state: InState = None,
    collection: Of = None,
    code: Code = None,
    owner: Owner = None,
    everybody: Everybody = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number, newest change first.")] = 50,
) -> None:
    """List jobs that are under way or failed. Jobs that ended well are not listed."""
    filters = await _filters(session, kind=kind, state=state, collection=collection, code=code, owner=owner)
    found, total = await jobs.find(session.api.http, filters, everybody=everybody or owner is not None, limit=limit)
    more = f", the newest {len(found)} of them above" if len(found) < total else ""
    shown = plain(f"{total} job{'s'[: total != 1]}{more}")
    session.printer.whole(
        {"items": found, "total": total}, lambda: Group(table([_row(it) for it in found], LISTED), shown)
    )


@app.command()
@remote
async def retry(
    session: Session,
    *,
    all_: All = False,
    kind: Kind = None,
    collection: Of = None,
    code: Code = None,
    owner: Owner = None,
    everybody: Everybody = False,
    dry_run: DryRun = False,
) -> None:
    """Run all matching failed jobs again: one new task per document.

    Example: aperag jobs retry --code MODEL_FAILED --dry-run
    """
    chosen = await _chosen(session, everything=all_, kind=kind, collection=collection, code=code, owner=owner)
    at = {"everybody": everybody or owner is not None, "dry_run": dry_run}
    told = await jobs.change(session.api.http, "retry", chosen, **at)
    done = "would be run again as" if dry_run else "are run again as"
    session.printer.whole(told, lambda: plain(f"{told['jobs']} failed jobs {done} {told['tasks']} tasks"))


@app.command()
@remote
async def cancel(
    session: Session,
    *,
    all_: All = False,
    kind: Kind = None,
    state: InState = None,
    collection: Of = None,
    owner: Owner = None,
    everybody: Everybody = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Cancel the tasks of all matching jobs of documents. Deletes are not cancelled."""
    chosen = await _chosen(session, everything=all_, kind=kind, state=state, collection=collection, owner=owner)
    at = everybody or owner is not None
    if not dry_run:
        counted = await jobs.change(session.api.http, "cancel", chosen, everybody=at, dry_run=True)
        confirm(f"Cancel {counted['jobs']} jobs of {counted['tasks']} documents?", yes=yes)
    told = await jobs.change(session.api.http, "cancel", chosen, everybody=at, dry_run=dry_run)
    said = f"{told['jobs']} jobs would be cancelled" if dry_run else f"{told['tasks']} tasks cancelled"
    session.printer.whole(told, lambda: plain(said))


async def _chosen(session: Session, *, everything: bool, **filters: Any) -> Mapping[str, object]:
    """What the gateway is asked; which jobs are meant must be said in one way."""
    named = await _filters(session, **filters)
    if everything == bool(named):
        message = "give --all, or filters such as --code: one of the two"
        raise typer.BadParameter(message, param_hint="--all")
    return {"all": True} if everything else dict(named)


async def _filters(session: Session, *, collection: str | None, **named: str | None) -> dict[str, str]:
    filters = {name: str(value) for name, value in named.items() if value is not None}
    if collection is not None:
        filters["collection_id"] = await session.api.collection_id(collection)
    return filters


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    about = job["name"] or job["subject_id"]
    return {**job, "about": f"{about} (removal)" if job["removes"] else about}
