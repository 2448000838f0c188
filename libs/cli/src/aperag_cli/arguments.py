"""Arguments and questions that several commands share."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from aperag_cli import remote
from aperag_cli.client.api import connect
from aperag_cli.environment import home
from aperag_cli.errors import CliError
from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_cli.client.http import Target

COMPLETION_SECONDS = 2.0
"""A shell that waits longer for its suggestions seems to hang."""
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def complete_collections(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Titles and ids of the collections that the command would find; nothing where it would fail."""
    try:
        target = remote.resolve(ctx.params.get("url"), ctx.params.get("api_key"), home())
        found = asyncio.run(asyncio.wait_for(_collections(target), COMPLETION_SECONDS))
    except (CliError, typer.BadParameter, TimeoutError):
        return []
    return _suggestions(found, incomplete)


async def _collections(target: Target) -> list[tuple[str, str]]:
    async with connect(target) as api:
        return [(str(it["title"]), str(it["id"])) for it in await api.collections()]


def _suggestions(found: Sequence[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    """A title that names two collections is no suggestion: their ids are."""
    titles = [title for title, _ in found]
    named = [(title, id_) for title, id_ in found if titles.count(title) == 1]
    ids = [(id_, title) for title, id_ in found if titles.count(title) > 1 or incomplete.startswith("col")]
    return [it for it in (*named, *ids) if it[0].startswith(incomplete)]


Collection = Annotated[
    str,
    typer.Argument(
        metavar="COLLECTION",
        help="Id or title of the collection.",
        autocompletion=complete_collections,
        show_default=False,
    ),
]
Document = Annotated[str, typer.Argument(metavar="DOCUMENT", help="Id or name of the document.", show_default=False)]
Documents = Annotated[
    list[str], typer.Argument(metavar="DOCUMENTS", help="Ids or names of documents.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ends the command where the answer is no; who cannot be asked must have said yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        message = "cannot ask for confirmation without a terminal: add --yes"
        raise typer.BadParameter(message, param_hint="--yes")
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort as err:
        raise typer.Exit(Exit.INTERRUPTED) from err
    if not agreed:
        typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(Exit.FAILED)


def past(value: str) -> datetime:
    """``2d``, ``12h`` or ``90m`` ago, or a date or time; one without a zone is of this machine's."""
    span = _SPAN.fullmatch(value)
    if span:
        return datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError) as err:
        message = f"{value!r} is neither a duration like 2d, 12h or 90m nor a time like 2030-01-31T12:00"
        raise typer.BadParameter(message) from err
