"""``aperag events``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from aperag_cli.arguments import past
from aperag_cli.client.events import RESET
from aperag_cli.output import plain
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from aperag_cli.client.events import Event

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Follow the events of your documents and collections."
)

POSITION = re.compile(r"\d{1,19}-\d{1,19}")
TOLD = ("name", "title", "kind", "status", "outcome", "changed", "error_code", "error_message")


@app.callback()
def group() -> None:
    """Makes a group of the one command there is."""


@app.command()
@remote
async def tail(
    session: Session,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            help="Start after this event, or at a time: 1-42, 2h, 3d, 2030-01-31T12:00.",
            metavar="ID|AGE|TIME",
            show_default="from now",
        ),
    ] = None,
    document: Annotated[
        str | None, typer.Option(help="Id of a document: only its events.", metavar="ID", show_default=False)
    ] = None,
) -> None:
    """Print events as they happen, until Ctrl-C (exit code 130).

    Reconnects and continues after the last event. `reset` means that events were missed.

    Example: aperag events tail --since 2h -o json
    """
    begin = since if since is None or POSITION.fullmatch(since) else past(since)
    async with session.api.events(since=begin, on_loss=session.note_loss) as events:
        while True:
            event = await events.next()
            if event is not None and (document is None or event.type == RESET or _about(event) == document):
                session.printer.line(_json(event), _line(event))


def _about(event: Event) -> object:
    return event.data.get("document_id")


def _json(event: Event) -> dict[str, Any]:
    """``event_id`` is the position in the stream, for --since; the rest is the event as it was published."""
    return {"event_id": event.id, "event": event.type, **event.body}


def _line(event: Event) -> Text:
    time = str(event.body.get("time", ""))[:19]
    about = str(event.body.get("subject") or event.body.get("reason", ""))
    told = "  ".join(f"{name}={event.data[name]}" for name in TOLD if event.data.get(name))
    return plain(f"{event.id:<10} {time:<19}  {event.type:<22} {about}  {told}".rstrip())
