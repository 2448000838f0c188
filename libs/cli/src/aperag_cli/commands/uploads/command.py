"""The command itself."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aperag_cli.arguments import Collection
from aperag_cli.client.errors import ApiError
from aperag_cli.client.following import follow
from aperag_cli.client.patience import Patience
from aperag_cli.client.tracks import Tracks
from aperag_cli.commands.uploads import resume
from aperag_cli.commands.uploads.report import Report
from aperag_cli.commands.uploads.send import Sender
from aperag_cli.commands.uploads.view import counting, viewing
from aperag_cli.commands.uploads.walk import walk
from aperag_cli.exits import Exit
from aperag_cli.remote import Session

if TYPE_CHECKING:
    from aperag_cli.client.events import Subscription
    from aperag_cli.commands.uploads.resume import Known
    from aperag_cli.commands.uploads.walk import Found

Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATHS", help="Files, or folders with -r.", exists=True, show_default=False),
]


async def upload(
    session: Session,
    collection: Collection,
    paths: Paths,
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Upload folders with their subfolders.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all documents are searchable.")] = False,
    concurrency: Annotated[int, typer.Option(help="Number of parallel requests.", min=1, max=32)] = 4,
) -> None:
    """Upload documents and folders. Run it again after a failure or Ctrl-C: only what is missing is sent.

    In folders, what is hidden or of a kind that ApeRAG does not accept is skipped and counted.

    A document is named after its path below the folder: guides/intro.md becomes guides__intro.md.

    Example: aperag documents upload Handbooks ./handbooks -r --wait

    Exit code 0 only where all were accepted, and with --wait are searchable.
    """
    found = walk(paths, recursive=recursive)
    if found.folders:
        message = f"{found.folders[0]} is a folder: add --recursive (-r) to upload folders"
        raise typer.BadParameter(message, param_hint="PATHS")
    collection_id = await session.api.collection_id(collection)
    async with AsyncExitStack() as stack:
        # Before anything is looked at or sent, so that nothing that becomes of it is missed.
        events = await stack.enter_async_context(session.api.events(on_loss=session.note_loss)) if wait else None
        known = await resume.compare(session.api, collection_id, found.sources, concurrency=concurrency)
        report = await _send(session, collection_id, found, known, concurrency=concurrency)
        if events is not None:
            await _follow(session, report, events)
    session.printer.whole(report.as_json(), report.as_text)
    if not report.whole:
        raise typer.Exit(Exit.FAILED)


async def _send(session: Session, collection_id: str, found: Found, known: Known, *, concurrency: int) -> Report:
    """Also an upload that breaks off tells what it has done."""
    with viewing(session.printer.err, known.missing) as view:
        sender = Sender(session.api, collection_id, Patience(), view)
        report = Report(collection_id, found, known, sender)
        try:
            await sender.send(known.missing, concurrency=concurrency)
        except ApiError:
            session.printer.whole(report.as_json(), report.as_text)
            raise
        except asyncio.CancelledError:
            session.printer.note(f"Stopped: {report.summary()}. Run the same command again to send the rest.")
            raise
    return report


async def _follow(session: Session, report: Report, events: Subscription) -> None:
    report.tracks = tracks = Tracks()
    tracks.read(report.known.documents.values())
    tracks.read(report.sender.accepted.values())
    with counting(session.printer.err, len(tracks.by_id), "documents searchable or failed") as count:
        async for _ in follow(session.api, report.collection_id, tracks, events):
            count(sum(track.settled for track in tracks.by_id.values()))
