"""``aperag ingest``."""

from __future__ import annotations

import mimetypes
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.client import ingest
from aperag_cli.client.ingest import DELETE, UPSERT, Event
from aperag_cli.exits import Exit
from aperag_cli.output import details
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Send events as another service does, and see their results.",
)

PLAIN = "text/plain"
STDIN = "-"

File = Annotated[str, typer.Argument(metavar="FILE", help="File of the document; - reads standard input.")]
Into = Annotated[str, typer.Option("--collection", "-c", help="Id or title of the collection.", show_default=False)]
Source = Annotated[str, typer.Option(help="Name of the sending service. Source and id together identify the event.")]
Subject = Annotated[
    str | None, typer.Option(help="Your key of the document; default: the file name.", show_default=False)
]
Key = Annotated[str, typer.Option(help="Your key of the document.", show_default=False)]
Id = Annotated[str | None, typer.Option("--id", help="Id of the event; default: a new one.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the event is processed; exit code 1 if it failed.")]


@app.command()
@remote
async def send(
    session: Session,
    file: File,
    *,
    collection: Into,
    source: Source = "aperag-cli",
    subject: Subject = None,
    id_: Id = None,
    wait: Wait = False,
) -> None:
    """Send a document, or new content for a document that was sent with the same source and subject.

    Example: git show HEAD:notes.md | aperag ingest send - --collection Notes --subject notes.md
    """
    if file == STDIN and subject is None:
        message = "standard input has no name: add --subject"
        raise typer.BadParameter(message, param_hint="--subject")
    content = sys.stdin.buffer.read() if file == STDIN else _read(Path(file))
    named = subject or Path(file).name
    media_type = mimetypes.guess_type(named)[0] or PLAIN
    # A JSON body would be read as the fields of an event, not as a document.
    media_type = PLAIN if media_type.endswith("json") else media_type
    event = _event(UPSERT, named, source, id_, await session.api.collection_id(collection))
    await _send(session, event, content, media_type, wait=wait)


@app.command()
@remote
async def delete(
    session: Session,
    *,
    collection: Into,
    subject: Key,
    source: Source = "aperag-cli",
    id_: Id = None,
    wait: Wait = False,
) -> None:
    """Delete the document that was sent with this source and subject."""
    event = _event(DELETE, subject, source, id_, await session.api.collection_id(collection))
    await _send(session, event, b"", PLAIN, wait=wait)


@app.command()
@remote
async def status(
    session: Session,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.", show_default=False)],
    *,
    source: Source = "aperag-cli",
) -> None:
    """Show the result of an event: its outcome and document, or its error code."""
    found = await ingest.status(session.api.http, source, id_)
    session.printer.whole(found, lambda: _shown(found))


async def _send(session: Session, event: Event, content: bytes, media_type: str, *, wait: bool) -> None:
    await ingest.send(session.api.http, event, content, media_type)
    if wait:
        found = await ingest.settled(session.api.http, event, told=session.note_loss)
    else:
        found = await ingest.status(session.api.http, event.source, event.id)
    session.printer.whole(found, lambda: _shown(found))
    if found["status"] == "FAILED":
        raise typer.Exit(Exit.FAILED)


def _event(type_: str, subject: str, source: str, id_: str | None, collection_id: str) -> Event:
    return Event(id_ or str(uuid.uuid4()), source, type_, subject, datetime.now(UTC).isoformat(), collection_id)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        message = f"cannot read {path}: {err.strerror}"
        raise typer.BadParameter(message, param_hint="FILE") from err


def _shown(found: dict[str, Any]) -> RenderableType:
    return details({name: value for name, value in found.items() if value is not None})
