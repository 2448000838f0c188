"""``aperag dlq``: dead letters, for administrators."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from typer.core import TyperCommand

from aperag_cli.arguments import Yes, complete_collections, confirm
from aperag_cli.client import dead_letters
from aperag_cli.exits import Exit
from aperag_cli.output import details, plain, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Show, requeue and delete dead letters of failed jobs. For administrators.",
)

LISTED = ("id", "age", "step", "code", "message", "document", "requeue")
RESULTS = ("id", "outcome", "task_id", "reason")
SHOWN = 20
"""Results that are printed for people; programs get all that the gateway names."""

Ids = Annotated[list[str] | None, typer.Argument(metavar="IDS", help="Ids of dead letters.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]
Step = Annotated[str | None, typer.Option(help="Step that failed: parse, vector, fulltext, …", show_default=False)]
Code = Annotated[str | None, typer.Option(help="Error code, for example CORRUPT_DOCUMENT.", show_default=False)]
Owner = Annotated[str | None, typer.Option(help="Id of the user who owned the job.", show_default=False)]
Of = Annotated[
    str | None,
    typer.Option(
        "--collection", help="Id or title of the collection.", autocompletion=complete_collections, show_default=False
    ),
]
Age = Annotated[str | None, typer.Option(metavar="AGE", help="Only older ones: 30m, 12h, 90d.", show_default=False)]
Requeued = Annotated[
    bool | None,
    typer.Option("--requeued/--open", help="Only those that were requeued, or only the others.", show_default="both"),
]


def _renamed(old: str, new: str) -> None:
    typer.echo(f"aperag: {old} is now called {new}", err=True)


def _tell_renamed(given: bool) -> bool:  # noqa: FBT001  Typer calls it
    if given:
        _renamed("--redriven", "--requeued")
    return given


Redriven = Annotated[
    bool, typer.Option("--redriven", hidden=True, callback=_tell_renamed, help="The old name of --requeued.")
]


class Redrive(TyperCommand):
    """The old name of ``requeue``."""

    def invoke(self, ctx: Any) -> Any:
        _renamed("`dlq redrive`", "`dlq requeue`")
        return super().invoke(ctx)


@app.command("list")
@remote
async def list_letters(
    session: Session,
    *,
    step: Step = None,
    code: Code = None,
    owner: Owner = None,
    collection: Of = None,
    requeued: Requeued = None,
    redriven: Redriven = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number, newest first.")] = 50,
) -> None:
    """List dead letters: age, step, reason and document."""
    filters = await _filters(session, step=step, code=code, owner=owner, collection=collection)
    if (wanted := redriven or requeued) is not None:
        filters["redriven"] = wanted
    found, total = await dead_letters.find(session.api.http, filters, limit=limit)
    session.printer.whole({"items": found, "total": total}, lambda: _listed(found, total))


@app.command()
@remote
async def show(
    session: Session, letter: Annotated[str, typer.Argument(metavar="ID", help="Id of the dead letter.")]
) -> None:
    """Show one dead letter: its message, its attempts, its document now, and whether a requeue would help."""
    found = await dead_letters.get(session.api.http, letter)
    session.printer.whole(found, lambda: details(_flat(found)))


@app.command()
@remote
async def requeue(
    session: Session,
    ids: Ids = None,
    *,
    all_: All = False,
    step: Step = None,
    code: Code = None,
    owner: Owner = None,
    collection: Of = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Run failed jobs again: one new task per document.

    It is safe to repeat this: jobs are skipped after a rebuild, a delete or an earlier requeue. Exit code 1 if you name
    ids and none of them could be requeued.

    Example: aperag dlq requeue --code UPSTREAM_UNAVAILABLE --dry-run
    """
    chosen = await _chosen(session, ids, everything=all_, step=step, code=code, owner=owner, collection=collection)
    told = await dead_letters.redrive(session.api.http, chosen, dry_run=dry_run)
    session.printer.whole(told, lambda: _requeued(told))
    if ids and not told["outcomes"].get("redriven"):
        raise typer.Exit(Exit.FAILED)


app.command("redrive", hidden=True, cls=Redrive)(requeue)


@app.command()
@remote
async def purge(
    session: Session,
    ids: Ids = None,
    *,
    all_: All = False,
    step: Step = None,
    code: Code = None,
    owner: Owner = None,
    collection: Of = None,
    requeued: Requeued = None,
    redriven: Redriven = False,
    older_than: Age = None,
    yes: Yes = False,
) -> None:
    """Delete dead letters. Their documents do not change.

    Example: aperag dlq purge --requeued --older-than 30d
    """
    wanted = redriven or requeued
    filters: dict[str, object] = {} if wanted is None else {"redriven": wanted}
    if older_than is not None:
        filters["older_than"] = _seconds(older_than)
    chosen = await _chosen(
        session, ids, everything=all_, step=step, code=code, owner=owner, collection=collection, **filters
    )
    confirm("Delete these dead letters? You can then no longer requeue their jobs.", yes=yes)
    purged = await dead_letters.purge(session.api.http, chosen)
    session.printer.whole({"purged": purged}, lambda: plain(f"{_letters(purged)} deleted"))


async def _chosen(
    session: Session, ids: Sequence[str] | None, *, everything: bool, **filters: Any
) -> Mapping[str, object]:
    """What the gateway is asked; which letters are meant must be said in one way."""
    given = {name: value for name, value in filters.items() if value is not None}
    if sum((bool(ids), everything, bool(given))) != 1:
        message = "name dead letters by their ids, or give --all, or filters such as --code: one of the three"
        raise typer.BadParameter(message, param_hint="IDS")
    if ids:
        return {"ids": list(dict.fromkeys(ids))}
    named = await _filters(session, **{name: given.pop(name, None) for name in ("step", "code", "owner", "collection")})
    return {"all": True} if everything else {**named, **given}


async def _filters(
    session: Session, *, step: str | None, code: str | None, owner: str | None, collection: str | None
) -> dict[str, Any]:
    named = {"step": step, "code": code, "owner": owner}
    filters: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if collection is not None:
        filters["collection_id"] = await session.api.collection_id(collection)
    return filters


def _listed(found: Sequence[dict[str, Any]], total: int) -> RenderableType:
    more = f", the newest {len(found)} of them above" if len(found) < total else ""
    return Group(table([_row(it) for it in found], LISTED), plain(f"{_letters(total)}{more}"))


def _row(letter: dict[str, Any]) -> dict[str, Any]:
    about = letter["document_name"] or letter["document_id"] or letter["collection_id"] or ""
    state = "possible" if letter["redrivable"] else _words(letter["outcome"])
    return {**letter, "age": age(letter["created"], datetime.now(UTC)), "document": about, "requeue": state}


def _requeued(told: dict[str, Any]) -> RenderableType:
    said = partial(_outcome, dry_run=told["dry_run"])
    counts = ", ".join(f"{letters} {said(outcome)}" for outcome, letters in sorted(told["outcomes"].items()))
    done = "nothing was changed" if told["dry_run"] else f"{told['tasks']} tasks started"
    summary = plain(f"{_letters(told['letters'])} checked, {done}" + (f": {counts}" if counts else ""))
    results = [{**it, "outcome": said(it["outcome"])} for it in told["results"][:SHOWN]]
    left = told["letters"] - len(results)
    more = [plain(f"… and {left} more")] if left > 0 else []
    return Group(table(results, RESULTS), *more, summary) if results else summary


def _outcome(outcome: str, *, dry_run: bool) -> str:
    return "would be requeued" if dry_run and outcome == "redriven" else _words(outcome)


def _words(outcome: str) -> str:
    """The API calls a requeue a redrive."""
    return outcome.replace("redriven", "requeued").replace("_", " ")


def _flat(letter: dict[str, Any]) -> dict[str, Any]:
    """One line for each thing that is known, the most telling first."""
    document = letter["document"] or {}
    row = letter["row"] or {}
    told = {
        "id": letter["id"],
        "age": age(letter["created"], datetime.now(UTC)),
        "step": letter["step"],
        "code": letter["code"],
        "message": letter["message"],
        "document": document and f"{document['name']} ({document['id']}), now {document['status']}",
        "row": row and f"{row['status']}, generation {row['generation']}",
        "requeue": letter["reason"],
        "attempts": row.get("failed_attempts"),
    }
    shown = {"document_name", "outcome", "redrivable", "reason", *told}
    return told | {name: value for name, value in letter.items() if name not in shown}


def age(created: str, now: datetime) -> str:
    """In the largest whole unit."""
    seconds = max(int((now - datetime.fromisoformat(created)).total_seconds()), 0)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _seconds(given: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", given)
    if found is None:
        message = f"{given!r} is not an age: use one like 30m, 12h or 90d"
        raise typer.BadParameter(message, param_hint="--older-than")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def _letters(count: int) -> str:
    return f"{count} dead letter{'s'[: count != 1]}"
