"""``aperag quotas``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.client import quotas
from aperag_cli.output import details, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Show and set quotas: how much each user may own. Only administrators see other users.",
)

User = Annotated[str, typer.Argument(metavar="USER", help="Id, name or address.")]
Collections = Annotated[
    int | None, typer.Option(min=0, metavar="NUMBER", help="Collections a user may have.", show_default=False)
]
Documents = Annotated[
    int | None, typer.Option(min=0, metavar="NUMBER", help="Documents a user may have.", show_default=False)
]
PerCollection = Annotated[
    int | None, typer.Option(min=0, metavar="NUMBER", help="Documents a collection may contain.", show_default=False)
]
Bots = Annotated[int | None, typer.Option(min=0, metavar="NUMBER", help="Bots a user may have.", show_default=False)]

NAMES = ("max_collection_count", "max_document_count", "max_document_count_per_collection", "max_bot_count")
COLUMNS = ("quota_type", "quota_limit", "current_usage", "remaining")


@app.command()
@remote
async def show(
    session: Session,
    user: Annotated[
        str | None, typer.Argument(metavar="[USER]", help="Id, name or address; default: you.", show_default=False)
    ] = None,
) -> None:
    """Show the quotas of a user, and how much of them is used."""
    http = session.api.http
    found = await quotas.own(http) if user is None else await quotas.of_user(http, user)
    session.printer.whole(found, lambda: table(found["quotas"], COLUMNS, title=found["username"]))


@app.command("set")
@remote
async def set_(
    session: Session,
    user: User,
    *,
    collections: Collections = None,
    documents: Documents = None,
    documents_per_collection: PerCollection = None,
    bots: Bots = None,
    default: Annotated[
        bool, typer.Option("--default", help="Remove the user's own quotas: the defaults apply again.")
    ] = False,
) -> None:
    """Set quotas for one user. Quotas that you do not name do not change."""
    named = _named(collections, documents, documents_per_collection, bots)
    if default == bool(named):
        message = "name at least one quota, or --default alone"
        raise typer.BadParameter(message)
    user_id = (await quotas.of_user(session.api.http, user))["user_id"]
    changed = await quotas.change(session.api.http, user_id, dict.fromkeys(NAMES) if default else named)
    session.printer.whole(changed, lambda: _changed(changed))
    session.printer.note(changed["message"])


@app.command()
@remote
async def defaults(
    session: Session,
    *,
    collections: Collections = None,
    documents: Documents = None,
    documents_per_collection: PerCollection = None,
    bots: Bots = None,
) -> None:
    """Show the default quotas, and change those that you name. They apply to all users without quotas of their own."""
    named = _named(collections, documents, documents_per_collection, bots)
    http = session.api.http
    found = await quotas.change_defaults(http, named) if named else await quotas.defaults(http)
    session.printer.whole(found, lambda: details(found))


def _named(*limits: int | None) -> dict[str, int]:
    return {name: limit for name, limit in zip(NAMES, limits, strict=True) if limit is not None}


def _changed(changed: dict[str, Any]) -> RenderableType:
    return table(changed["updated_quotas"], ("quota_type", "old_limit", "new_limit"))
