"""``aperag collections``."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Annotated

import typer

from aperag_cli.arguments import Collection, Yes, confirm
from aperag_cli.client.api import Json
from aperag_cli.output import details, plain, table
from aperag_cli.remote import Session, remote

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Create, list, share and delete collections. Name a collection by its id or title.",
)

COLUMNS = ("id", "title", "description", "status", "owner_username", "is_published", "created")


FAST = "local/use-multilingual-v3"


class Language(StrEnum):
    """What the contract knows."""

    CHINESE = "zh-CN"
    ENGLISH = "en-US"
    JAPANESE = "ja-JP"
    KOREAN = "ko-KR"


@app.command("list")
@remote
async def list_collections(session: Session) -> None:
    """List your collections, and those that you have subscribed to."""
    found = await session.api.collections()
    session.printer.whole(found, lambda: table(found, COLUMNS))


@app.command()
@remote
async def create(
    session: Session,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="Title. Choose one that no other collection has.")],
    *,
    description: Annotated[str, typer.Option(help="What the collection contains.")] = "",
    language: Annotated[
        Language | None, typer.Option(help="Main language of its documents.", show_default="the gateway's")
    ] = None,
    vector: Annotated[
        bool, typer.Option("--vector/--no-vector", help="Build a vector index, to search by meaning.")
    ] = True,
    fulltext: Annotated[
        bool, typer.Option("--fulltext/--no-fulltext", help="Build a full-text index, to search by words.")
    ] = True,
    embedding: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER/MODEL",
            help="Embedding model; fast = the quicker built-in one.",
            show_default="the installation's",
        ),
    ] = None,
) -> None:
    """Create a collection.

    Example: aperag collections create Handbooks --language en-US
    """
    config: dict[str, object] = {"source": "system", "enable_vector": vector, "enable_fulltext": fulltext}
    if language is not None:
        config["language"] = language.value
    if embedding is not None:
        config["embedding"] = _model(embedding, "--embedding")
    made = await session.api.create_collection(title, description=description, config=config)
    session.printer.whole(made, lambda: details(made))
    session.printer.note(f"Next: aperag documents upload {shlex.quote(title)} PATH --wait")


@app.command()
@remote
async def show(session: Session, collection: Collection) -> None:
    """Show one collection with its settings."""
    found = await session.api.collection(await session.api.collection_id(collection))
    session.printer.whole(found, lambda: details(found))


@app.command()
@remote
async def embedding(
    session: Session,
    collection: Collection,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[PROVIDER/MODEL]", help="New embedding model.", show_default="show it only"),
    ] = None,
) -> None:
    """Show the embedding model of a collection, or change it.

    Searches use the old vectors until all new ones are built.

    Example: aperag collections embedding Handbooks local/use-multilingual-v3
    """
    found = await session.api.collection(await session.api.collection_id(collection))
    if model is not None:
        found = await session.api.choose_embedding(found, _model(model, "PROVIDER/MODEL"))
    told = {"id": found["id"], "embedding_model": found["embedding_model"]}
    told |= {"embedding_switch": found["embedding_switch"]}
    session.printer.whole(told, lambda: details(_switch_shown(told)))


@app.command()
@remote
async def cancel(session: Session, collection: Collection, *, yes: Yes = False) -> None:
    """Stop all work on the documents of a collection.

    Searches still find what they found before. Deletes are not stopped.
    """
    found = await session.api.collection(await session.api.collection_id(collection))
    confirm(f"Cancel all running tasks of the collection {found['title']!r} ({found['id']})?", yes=yes)
    answer = await session.api.cancel_collection(found["id"])
    told = f"{answer['cancelled_tasks']} tasks of {answer['affected_documents']} documents cancelled"
    session.printer.whole(answer, lambda: plain(told))


@app.command()
@remote
async def share(session: Session, collection: Collection, *, yes: Yes = False) -> None:
    """Publish a collection: everybody who can reach the gateway can find and read it, even without a login."""
    found = await session.api.collection(await session.api.collection_id(collection))
    confirm(f"Let everybody read the collection {found['title']!r} ({found['id']})?", yes=yes)
    await session.api.share(found["id"])
    await _tell_sharing(session, found["id"])


@app.command()
@remote
async def unshare(session: Session, collection: Collection) -> None:
    """Unpublish a collection: others lose access and subscriptions end."""
    collection_id = await session.api.collection_id(collection)
    await session.api.unshare(collection_id)
    await _tell_sharing(session, collection_id)


@app.command()
@remote
async def delete(session: Session, collection: Collection, *, yes: Yes = False) -> None:
    """Delete a collection with all of its documents."""
    found = await session.api.collection(await session.api.collection_id(collection))
    confirm(f"Delete the collection {found['title']!r} ({found['id']}) with all of its documents?", yes=yes)
    deleted = await session.api.delete_collection(found["id"])
    session.printer.whole(deleted, lambda: details({"id": deleted["id"], "status": deleted["status"]}))


async def _tell_sharing(session: Session, collection_id: str) -> None:
    told = {"id": collection_id, **await session.api.sharing(collection_id)}
    session.printer.whole(told, lambda: details(told))


def _model(named: str, hint: str) -> dict[str, object]:
    named = FAST if named == "fast" else named
    provider, slash, model = named.partition("/")
    if not (provider and slash and model):
        message = f"{named!r} is not a model: write it as PROVIDER/MODEL, for example {FAST}, or fast for this one"
        raise typer.BadParameter(message, param_hint=hint)
    return {"model_service_provider": provider, "model": model}


def _switch_shown(told: Json) -> Json:
    """A person reads how far it is in one line."""
    switch = told["embedding_switch"]
    if switch is None:
        return told
    progress = f"{switch['done']} of {switch['total']} documents, {switch['failed']} failed"
    return {**told, "embedding_switch": f"to {switch['wanted']}: {progress}", "reason": switch["reason"]}
