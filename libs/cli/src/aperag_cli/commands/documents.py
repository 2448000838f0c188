"""``aperag documents``."""

from __future__ import annotations

import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.filesize import decimal

from aperag_cli.arguments import Collection, Document, Documents, Yes, confirm
from aperag_cli.client.following import follow
from aperag_cli.client.tracks import Stage, Tracks
from aperag_cli.commands.downloads import save
from aperag_cli.commands.timelines import timeline, with_summaries
from aperag_cli.commands.uploads.command import upload
from aperag_cli.exits import Exit
from aperag_cli.output import details, plain, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from aperag_cli.client.tracks import Track

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Upload documents, and follow them until they are searchable."
)
app.command()(remote(upload))
app.command()(remote(timeline))

LISTED = ("id", "name", "status", "size", "created")
STATUS = ("id", "name", "status", "vector_index_status", "fulltext_index_status")


class Index(StrEnum):
    """The contract's names, in lower case."""

    VECTOR = "vector"
    FULLTEXT = "fulltext"
    GRAPH = "graph"
    SUMMARY = "summary"
    VISION = "vision"


@app.command("list")
@remote
async def list_documents(
    session: Session,
    collection: Collection,
    *,
    search: Annotated[str | None, typer.Option(help="Part of the name.", show_default=False)] = None,
) -> None:
    """List all documents of a collection, oldest first."""
    found = await session.api.documents(await session.api.collection_id(collection), search=search)
    session.printer.whole(found, lambda: table(({**it, "size": decimal(it["size"])} for it in found), LISTED))


@app.command()
@remote
async def show(session: Session, collection: Collection, document: Document) -> None:
    """Show one document with all of its statuses."""
    collection_id = await session.api.collection_id(collection)
    found = await session.api.document(collection_id, await session.api.document_id(collection_id, document))
    session.printer.whole(found, lambda: details(found))


@app.command()
@remote
async def status(
    session: Session,
    collection: Collection,
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="DOCUMENTS", help="Ids or names; default: all of them.", show_default=False),
    ] = None,
    *,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Print each change until all documents are searchable or have failed."),
    ] = False,
) -> None:
    """Show the progress of documents.

    With --follow, `-o json` prints one object per line, and the exit code is 1 if a document failed.
    """
    collection_id = await session.api.collection_id(collection)
    wanted = await _ids(session, collection_id, documents or ())
    if follow:
        await _follow(session, collection_id, wanted)
        return
    found = await with_summaries(session.api.http, collection_id, await _read(session, collection_id, wanted))
    counts = Counter(it["status"] for it in found)
    session.printer.whole({"counts": counts, "documents": found}, lambda: _statuses(found, counts))


def _statuses(found: Sequence[dict[str, Any]], counts: Counter[str]) -> RenderableType:
    summary = "; ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no documents"
    reasons = [plain(f"{it['name']}: {told}") for it in found if (told := it.get("why") or _error(it))]
    return Group(table(found, STATUS), *reasons, plain(summary))


def _error(document: dict[str, Any]) -> str:
    if document["error_code"]:
        return f"{document['error_code']}: {document['error_message']}"
    return "; ".join(f"{it['place']}: {it['message']}".removeprefix(": ") for it in document.get("warnings", ()))


async def _ids(session: Session, collection_id: str, documents: Sequence[str]) -> list[str]:
    return [await session.api.document_id(collection_id, it) for it in documents]


async def _read(session: Session, collection_id: str, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """All documents of the collection where none is ``wanted``."""
    if not wanted:
        return await session.api.documents(collection_id)
    return [await session.api.document(collection_id, it) for it in wanted]


async def _follow(session: Session, collection_id: str, wanted: Sequence[str]) -> None:
    tracks = Tracks()
    async with session.api.events(on_loss=session.note_loss) as events:
        tracks.read(await _read(session, collection_id, wanted))
        for track in tracks.by_id.values():
            session.printer.line(_progress(track), _line(track))
        async for changed in follow(session.api, collection_id, tracks, events):
            session.printer.line(_progress(changed), _line(changed))
    if tracks.failures:
        raise typer.Exit(Exit.FAILED)


def _progress(track: Track) -> dict[str, Any]:
    state = "failed" if track.settled and track.failure else "searchable" if track.settled else "open"
    reached = [stage.value for stage in Stage if stage in track.reached]
    return {"id": track.document_id, "name": track.name, "state": state, "reached": reached, "reason": track.failure}


def _line(track: Track) -> RenderableType:
    told = _progress(track)
    reason = f": {track.failure}" if track.failure else ""
    return plain(f"{track.document_id}  {told['state']:<10}  {' '.join(told['reached']):<22}  {track.name}{reason}")


@app.command()
@remote
async def rebuild(
    session: Session,
    collection: Collection,
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="DOCUMENTS", help="Ids or names.", show_default=False)
    ] = None,
    *,
    index: Annotated[
        list[Index] | None, typer.Option(help="Index to rebuild; can be repeated.", show_default="vector and fulltext")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All documents of the collection whose indexing failed.")
    ] = False,
) -> None:
    """Rebuild indexes of documents.

    Example: aperag documents rebuild Handbooks intro.md --index vector
    """
    if failed == bool(documents):
        message = "name the documents, or give --failed for all that failed"
        raise typer.BadParameter(message, param_hint="DOCUMENTS")
    collection_id = await session.api.collection_id(collection)
    if failed:
        answer = await session.api.rebuild_failed(collection_id)
        session.printer.whole(answer, lambda: plain(answer["message"]))
        return
    kinds = [it.value for it in dict.fromkeys(index or (Index.VECTOR, Index.FULLTEXT))]
    answers = [
        {"id": document_id, **await session.api.rebuild(collection_id, document_id, kinds)}
        for document_id in await _ids(session, collection_id, documents or ())
    ]
    session.printer.whole(answers, lambda: table(answers, ("id", "task_id", "message")))


@app.command()
@remote
async def cancel(session: Session, collection: Collection, documents: Documents) -> None:
    """Stop all work on documents. Searches still find what they found before.

    Example: aperag documents cancel Handbooks intro.md
    """
    collection_id = await session.api.collection_id(collection)
    wanted = await _ids(session, collection_id, documents)
    answers = [await session.api.cancel_document(collection_id, it) for it in wanted]
    rows = [{**it["document"], "tasks": " ".join(it["task_ids"])} for it in answers]
    session.printer.whole(answers, lambda: table(rows, ("id", "name", "status", "tasks")))


@app.command()
@remote
async def delete(session: Session, collection: Collection, documents: Documents, *, yes: Yes = False) -> None:
    """Delete documents."""
    collection_id = await session.api.collection_id(collection)
    wanted = await _ids(session, collection_id, documents)
    confirm(f"Delete {len(wanted)} document{'s'[: len(wanted) != 1]} of this collection?", yes=yes)
    deleted = [await session.api.delete_document(collection_id, it) for it in wanted]
    session.printer.whole(deleted, lambda: table(deleted, ("id", "name", "status", "task_id")))


@app.command()
@remote
async def download(
    session: Session,
    collection: Collection,
    document: Document,
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Target file; - is standard output.", allow_dash=True, show_default="its name, in this folder"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Download the original file of a document."""
    collection_id = await session.api.collection_id(collection)
    document_id = await session.api.document_id(collection_id, document)
    found = await session.api.document(collection_id, document_id)
    async with session.api.download(collection_id, document_id) as blocks:
        if to == Path("-"):
            async for block in blocks:
                sys.stdout.buffer.write(block)
            return
        target = await save(blocks, name=found["name"], to=to, force=force)
    told = {"id": document_id, "path": str(target), "size": found["size"]}
    session.printer.whole(told, lambda: plain(f"{target} ({decimal(found['size'])})"))
